"""Parity of a frame's blocks: what it is computed from, and how lost shards come back.

The code works on *symbols* of one length. A data shard's symbol tells its place as well as its bytes, so that a shard that
nobody received comes back with both; the zeros behind it are computed with and never sent:

    payload length u16 | first interval u24 | interval count u16 | payload | zeros up to the block's longest symbol

A parity shard's payload is a whole symbol. Its index says which (``data_shards`` and up), and any ``data_shards`` different
shards of a block are enough (proto/erasure_code.py).
"""

import struct
from collections.abc import Mapping, Sequence
from itertools import zip_longest

from udpconf.proto.erasure_code import SHARDS_PER_BLOCK_MAX, ErasureCode
from udpconf.proto.redundancy import parity_wanted
from udpconf.wire.frames import PARITY_PREFIX_BYTES, VideoShard

_PREFIX = struct.Struct(">HBHH")
assert _PREFIX.size == PARITY_PREFIX_BYTES


def parity_shards(code: ErasureCode, block: Sequence[VideoShard], indexes: Sequence[int]) -> list[VideoShard]:
    """The parity shards of a block with these indexes.

    Args:
        code: the code that both ends use.
        block: all data shards of one block of one frame, in order.
        indexes: each from ``len(block)`` to 254.

    Raises:
        LocalProtocolError: an index is outside these bounds.
    """
    longest = max(len(shard.payload) for shard in block) + PARITY_PREFIX_BYTES
    symbols = [_symbol(shard, longest) for shard in block]
    first = block[0]
    return [
        first._replace(shard_index=index, first_interval=0, interval_count=0, payload=payload)
        for index, payload in zip(indexes, code.encode(len(block), symbols, indexes), strict=True)
    ]


class FrameParity:
    """The parity of one frame after another, each as much as it is worth.

    Args:
        code: the code that both ends use.

    Attributes:
        share: what frames like the last one get on average, in bytes to a byte of their data.
    """

    def __init__(self, code: ErasureCode) -> None:
        self.share = 0.0
        self._code = code
        self._owed = 0.0  # of a shard: what whole numbers have left of the fractions that were wanted

    def of_frame(
        self,
        shards: Sequence[VideoShard],
        loss: float,
        burst: float,
        rounds: int = 0,
        request_loss: float = 0.0,
    ) -> list[VideoShard]:
        """The parity of a whole frame, its blocks in turn, as the data goes.

        Args:
            shards: all data shards of the frame, in the order in which they are sent.
            loss: share of packets that the path loses, 0..1.
            burst: mean length of a run of losses on the wire, packets.
            rounds: how often the receiver can ask for more before it shows the frame.
            request_loss: share of packets that the way back loses.
        """
        blocks = shards[0].blocks if shards else 0
        rows = []
        wanted_bytes = 0.0
        for number in range(blocks):
            block = shards[number::blocks]
            # Blocks take turns on the wire, so a run of losses is shared out among them.
            wanted = parity_wanted(len(block), loss, max(1.0, burst / blocks), rounds, request_loss)
            wanted_bytes += wanted * max(len(shard.payload) for shard in block)
            count = int(wanted + self._owed)
            count = min(count, SHARDS_PER_BLOCK_MAX - len(block))
            self._owed = min(wanted + self._owed - count, 1.0) if wanted else 0.0
            if count:
                rows.append(parity_shards(self._code, block, range(len(block), len(block) + count)))
        self.share = wanted_bytes / sum(len(shard.payload) for shard in shards) if wanted_bytes else 0.0
        return [shard for turn in zip_longest(*rows) for shard in turn if shard is not None]


def recovered_shards(
    code: ErasureCode, data: Mapping[int, VideoShard], parity: Mapping[int, VideoShard]
) -> list[VideoShard]:
    """The data shards of a block that are missing, computed from those that came.

    Args:
        code: the code that both ends use.
        data: received data shards of the block by their indexes.
        parity: received parity shards by theirs; together at least as many as the block has data shards.

    Returns:
        The missing data shards. Without those that make no sense, and none at all if the shards do not belong together:
        a peer may send anything.
    """
    some = next(iter(parity.values()))
    length = len(some.payload)
    symbols = {index: shard.payload for index, shard in parity.items()}
    for index, shard in data.items():
        if len(shard.payload) + PARITY_PREFIX_BYTES > length:
            return []
        symbols[index] = _symbol(shard, length)
    if length < PARITY_PREFIX_BYTES or any(len(symbol) != length for symbol in symbols.values()):
        return []
    k = some.data_shards
    recovered = []
    for index, symbol in enumerate(code.decode(k, symbols)):
        if index in data:
            continue
        size, high, low, count = _PREFIX.unpack_from(symbol)
        first_interval = high << 16 | low
        if (
            0 < size <= length - PARITY_PREFIX_BYTES
            and count
            and first_interval + count <= some.description.interval_count
        ):
            payload = symbol[PARITY_PREFIX_BYTES : PARITY_PREFIX_BYTES + size]
            recovered.append(
                some._replace(
                    shard_index=index, first_interval=first_interval, interval_count=count, payload=payload
                )
            )
    return recovered


def _symbol(shard: VideoShard, length: int) -> bytes:
    first = shard.first_interval
    prefix = _PREFIX.pack(len(shard.payload), first >> 16, first & 0xFFFF, shard.interval_count)
    return (prefix + shard.payload).ljust(length, b"\0")
