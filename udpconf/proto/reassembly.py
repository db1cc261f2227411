"""Shards become frames again: one open frame's intervals, within the bounds of limits.py.

A shard is believed only as far as it agrees with the first one of its frame: the same description, intervals that are
still free. What does not fit is refused and counted; it never costs the frame.
"""

from enum import Enum

from udpconf.frames import EncodedFrame, FrameDescription, Segment
from udpconf.limits import (
    FRAME_MAX_BYTES,
    SERVER_REASSEMBLY_MAX_BYTES,
    SHARDS_PER_FRAME_MAX,
    STREAM_REASSEMBLY_MAX_BYTES,
)
from udpconf.wire.frames import VideoShard


class ShardFate(Enum):
    """What became of a shard; each is counted exactly once."""

    USED = "used"
    DUPLICATE = "duplicate"
    LATE = "late"
    REFUSED = "refused"


class ReassemblyBudget:
    """Bytes of open frames of the whole server. Bytes are the bound, not objects."""

    def __init__(self, limit_bytes: int = SERVER_REASSEMBLY_MAX_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0


class StreamBudget:
    """A stream's share of the server's budget."""

    def __init__(self, server: ReassemblyBudget, limit_bytes: int = STREAM_REASSEMBLY_MAX_BYTES) -> None:
        self._server = server
        self._limit_bytes = limit_bytes
        self._used_bytes = 0

    def take(self, size: int) -> bool:
        server = self._server
        if self._used_bytes + size > self._limit_bytes or server.used_bytes + size > server.limit_bytes:
            return False
        self._used_bytes += size
        server.used_bytes += size
        return True

    def give_back(self, size: int) -> None:
        self._used_bytes -= size
        self._server.used_bytes -= size

    def close(self) -> None:
        """The stream ended with frames open."""
        self.give_back(self._used_bytes)


class OpenFrame:
    """A frame that still waits for shards, or for its turn."""

    __slots__ = (
        "_covered",
        "_interval_count",
        "_segments",
        "capture_us",
        "coded_bytes",
        "deadline_us",
        "description",
        "frame_id",
        "last_arrival_us",
    )

    def __init__(self, shard: VideoShard, capture_us: int, deadline_us: int) -> None:
        self.frame_id = shard.frame_id
        self.description: FrameDescription = shard.description
        self.capture_us = capture_us
        self.deadline_us = deadline_us
        self.last_arrival_us = 0
        self.coded_bytes = 0
        self._segments: dict[int, Segment] = {}
        self._covered = 0
        self._interval_count = shard.description.interval_count

    def add(self, shard: VideoShard, now_us: int, budget: StreamBudget) -> ShardFate:
        if shard.shard_index >= shard.data_shards:
            return ShardFate.REFUSED  # parity: nobody sends any yet
        if shard.description is not self.description and shard.description != self.description:
            return ShardFate.REFUSED
        present = self._segments.get(shard.first_interval)
        if present is not None:
            return ShardFate.DUPLICATE if present.data == shard.payload else ShardFate.REFUSED
        size = len(shard.payload)
        if (
            self._covered + shard.interval_count > self._interval_count
            or self.coded_bytes + size > FRAME_MAX_BYTES
            or len(self._segments) >= SHARDS_PER_FRAME_MAX
            or not budget.take(size)
        ):
            return ShardFate.REFUSED
        self._segments[shard.first_interval] = Segment(
            shard.first_interval, shard.interval_count, shard.payload
        )
        self._covered += shard.interval_count
        self.coded_bytes += size
        self.last_arrival_us = now_us
        return ShardFate.USED

    @property
    def complete(self) -> bool:
        return self._covered == self._interval_count

    @property
    def fresh_share(self) -> float:
        return self._covered / self._interval_count

    def encoded(self) -> EncodedFrame:
        """The frame as it stands. Intervals claimed twice by a hostile sender stay with the first claim in order."""
        segments: list[Segment] = []
        free_from = 0
        for first in sorted(self._segments):
            segment = self._segments[first]
            if first >= free_from:
                segments.append(segment)
                free_from = first + segment.interval_count
        return EncodedFrame(self.description, tuple(segments), self.capture_us)
