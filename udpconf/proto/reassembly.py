"""Shards become frames again: one open frame's intervals, within the bounds of limits.py.

A shard is believed only as far as it agrees with the first one of its frame: the same description, intervals that are
still free. What does not fit is refused and counted; it never costs the frame.
"""

from enum import Enum
from operator import attrgetter

from udpconf.frames import EncodedFrame, FrameDescription, Segment
from udpconf.limits import (
    FRAME_MAX_BYTES,
    SERVER_REASSEMBLY_MAX_BYTES,
    SHARDS_PER_FRAME_MAX,
    STREAM_REASSEMBLY_MAX_BYTES,
)
from udpconf.proto.erasure_code import SHARDS_PER_BLOCK_MAX, ErasureCode
from udpconf.proto.parity import recovered_shards
from udpconf.wire.frames import VideoShard

# What a shard takes beside its payload, as Python keeps it (measured). Without it a stream of shards of one byte, from somebody who
# has the passphrase, would take a hundred times the bytes that are counted.
SHARD_OBJECT_BYTES = 200


class ShardFate(Enum):
    """What became of a shard; each is counted exactly once."""

    USED = "used"
    DUPLICATE = "duplicate"
    LATE = "late"
    REFUSED = "refused"


class ReassemblyBudget:
    """Bytes of open frames of the whole server, of each shard its payload and SHARD_OBJECT_BYTES."""

    def __init__(self, limit_bytes: int = SERVER_REASSEMBLY_MAX_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0


class StreamBudget:
    """A stream's share of the server's budget."""

    def __init__(self, server: ReassemblyBudget, limit_bytes: int = STREAM_REASSEMBLY_MAX_BYTES) -> None:
        self._server = server
        self._limit_bytes = limit_bytes
        self._used_bytes = 0

    def has_room(self, size: int) -> bool:
        server = self._server
        return self._used_bytes + size <= self._limit_bytes and server.used_bytes + size <= server.limit_bytes

    def take(self, size: int) -> bool:
        """At every shard, so this asks for itself what ``has_room`` says."""
        server = self._server
        used_bytes, server_bytes = self._used_bytes + size, server.used_bytes + size
        if used_bytes > self._limit_bytes or server_bytes > server.limit_bytes:
            return False
        self._used_bytes, server.used_bytes = used_bytes, server_bytes
        return True

    def give_back(self, size: int) -> None:
        self._used_bytes -= size
        self._server.used_bytes -= size

    def close(self) -> None:
        """The stream ended with frames open."""
        self.give_back(self._used_bytes)


class _Block:
    """What came of one block of a frame, by index."""

    __slots__ = ("data", "data_shards", "decoded", "parity")

    def __init__(self, data_shards: int) -> None:
        self.data_shards = data_shards
        self.data: dict[int, VideoShard] = {}
        self.parity: dict[int, VideoShard] = {}
        self.decoded = False  # one attempt, or a peer with made-up parity could keep a core busy

    @property
    def highest_index(self) -> int:
        """Of those that have come."""
        return max(max(self.data, default=0), max(self.parity, default=0))

    @property
    def missing(self) -> int:
        """How many more shards, whichever, would give all of it."""
        return self.data_shards - len(self.data) - len(self.parity)


class OpenFrame:
    """A frame that still waits for shards, or for its turn."""

    __slots__ = (
        "_block_count",
        "_blocks",
        "_code",
        "_covered",
        "_interval_count",
        "_shards",
        "ask_at_us",
        "capture_us",
        "coded_bytes",
        "complete",
        "deadline_us",
        "description",
        "first_send_us",
        "frame_id",
        "held_bytes",
        "last_arrival_us",
        "repairs_asked",
        "settled_at_us",
        "shards_recovered",
        "was_repaired",
    )

    def __init__(self, code: ErasureCode, shard: VideoShard, capture_us: int, deadline_us: int) -> None:
        self.frame_id = shard.frame_id
        self.description: FrameDescription = shard.description
        self.capture_us = capture_us
        self.deadline_us = deadline_us
        self.last_arrival_us = 0
        self.first_send_us = 0  # the last arrival of what was sent unasked: what the path needs for a frame
        self.ask_at_us: int | None = None  # when to ask for what is missing (repair_timer.py)
        self.repairs_asked = 0
        # From when on nothing more is likely to come, neither by itself nor in answer (repair_timer.py).
        self.settled_at_us: int | None = None
        self.coded_bytes = 0  # of the picture
        self.held_bytes = 0  # with parity, out of the budget
        self.shards_recovered = 0
        self.was_repaired = False  # something that was asked for has come and was used
        self._code = code
        self._blocks: dict[int, _Block] = {}
        self._block_count = shard.blocks
        self._shards = 0
        self._covered = 0
        self.complete = False  # no interval is missing
        self._interval_count = shard.description.interval_count

    def add(self, shard: VideoShard, now_us: int, budget: StreamBudget) -> ShardFate:
        """Take a shard in, and recover what can be recovered with it."""
        if shard.description is not self.description and shard.description != self.description:
            return ShardFate.REFUSED
        block = self._blocks.get(shard.block)
        if block is None:
            if shard.blocks != self._block_count:
                return ShardFate.REFUSED
            block = self._blocks[shard.block] = _Block(shard.data_shards)
        elif shard.data_shards != block.data_shards:
            return ShardFate.REFUSED
        unasked = True
        if shard.shard_index >= block.data_shards:
            fate = self._add_parity(block, shard, budget)
            unasked = not shard.answers_repair
        else:
            fate = self._add_data(block, shard, budget)
        if fate is ShardFate.USED:
            self.last_arrival_us = now_us
            if unasked:
                self.first_send_us = now_us
            if block.parity and block.missing <= 0:
                self._recover(block, budget)
        return fate

    @property
    def fresh_share(self) -> float:
        return self._covered / self._interval_count

    def missing_shards(self) -> list[tuple[int, int]]:
        """By block, how many more shards would make it whole. One of which nothing came is as large as the largest."""
        largest = max(block.data_shards for block in self._blocks.values())
        missing = []
        for number in range(self._block_count):
            block = self._blocks.get(number)
            needed = largest if block is None else 0 if block.decoded else block.missing
            if needed > 0:
                missing.append((number, needed))
        return missing

    def may_become_whole(self, parity_shards: int) -> bool:
        """By what has not come yet of its first send, if each block has so much parity and nothing is overtaken."""
        return all(
            block.missing <= block.data_shards + parity_shards - 1 - block.highest_index
            for block in self._blocks.values()
            if not block.decoded
        )

    def encoded(self) -> EncodedFrame:
        """The frame as it stands. Intervals claimed twice by a hostile sender stay with the first claim in order."""
        shards = [shard for block in self._blocks.values() for shard in block.data.values()]
        shards.sort(key=attrgetter("first_interval"))
        segments: list[Segment] = []
        free_from = 0
        for shard in shards:
            if shard.first_interval >= free_from:
                # As the call of the class, in half its time.
                fields = (shard.first_interval, shard.interval_count, shard.payload)
                segments.append(tuple.__new__(Segment, fields))
                free_from = shard.first_interval + shard.interval_count
        return EncodedFrame(self.description, tuple(segments), self.capture_us)

    def _add_data(self, block: _Block, shard: VideoShard, budget: StreamBudget) -> ShardFate:
        present = block.data.get(shard.shard_index)
        if present is not None:
            same = present.payload == shard.payload and present.first_interval == shard.first_interval
            return ShardFate.DUPLICATE if same else ShardFate.REFUSED
        size = len(shard.payload)
        if (
            self._covered + shard.interval_count > self._interval_count
            or self.coded_bytes + size > FRAME_MAX_BYTES
            or not self._hold(size, budget)
        ):
            return ShardFate.REFUSED
        block.data[shard.shard_index] = shard
        self._covered += shard.interval_count
        self.complete = self._covered == self._interval_count
        self.coded_bytes += size
        return ShardFate.USED

    def _add_parity(self, block: _Block, shard: VideoShard, budget: StreamBudget) -> ShardFate:
        if block.decoded or len(block.data) == block.data_shards or shard.shard_index in block.parity:
            return ShardFate.DUPLICATE  # nothing new is in it
        size = len(shard.payload)
        if shard.shard_index >= SHARDS_PER_BLOCK_MAX or not self._hold(size, budget):
            return ShardFate.REFUSED
        block.parity[shard.shard_index] = shard
        return ShardFate.USED

    def _hold(self, payload_bytes: int, budget: StreamBudget) -> bool:
        size = payload_bytes + SHARD_OBJECT_BYTES
        if self._shards >= SHARDS_PER_FRAME_MAX or not budget.take(size):
            return False
        self._shards += 1
        self.held_bytes += size
        return True

    def _recover(self, block: _Block, budget: StreamBudget) -> None:
        recovered = recovered_shards(self._code, block.data, block.parity)
        block.decoded = True
        size = sum(len(shard.payload) + SHARD_OBJECT_BYTES for shard in block.parity.values())
        self._shards -= len(block.parity)
        self.held_bytes -= size
        budget.give_back(size)
        block.parity.clear()
        for shard in recovered:
            if self._add_data(block, shard, budget) is ShardFate.USED:
                self.shards_recovered += 1
