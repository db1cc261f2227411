"""The earliest instant at which anybody could have had a frame, given what the link did to the packets of the run.

For a frame f of n data packets, let S(f) be the packets that were sent for it, with their arrival times a(p), infinite
for those that were lost. A perfect erasure code of the same overhead could have put what is needed into any k of them:

    ideal(f) = the k-th smallest a(p), p in S(f),    k = the frame's data packets, without any overhead

No scheme that sends these packets at these times can do better, whatever it puts into them: fewer than k packets do not
hold k packets' worth of picture. It may well do worse; and where fewer than k arrived, it is never.

* A datagram program without feedback sends S(f), data and parity, between being given the frame and being given the next
  one. What is lost beyond the parity is lost for every code that sends nothing more.
* TCP repeats until it arrives, so S(f) is every data packet from the moment the program was given the frame, and
  k = ceil(the frame's bytes / the largest payload). With a backlog that is far from what TCP does: that is the point.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tools.lab.link_log import MEDIA, NEVER, PARITY, Packets
from udpconf.wire.frames import PARITY_PREFIX_BYTES

# 1500 bytes without the headers of IP and TCP, with timestamps.
TCP_PAYLOAD_BYTES = 1448


class SentFrame(NamedTuple):
    """What is known of a frame at its sender."""

    number: int
    begun_us: int  # when the program was given it
    coded_bytes: int | None = None  # None: count its packets


def ideal_us(frames: list[SentFrame], packets: Packets, kinds: NDArray[np.int64]) -> dict[int, int]:
    """The ideal arrival of each frame by its number, microseconds; a frame that nobody could have had is left out.

    Args:
        frames: in the order in which the program was given them.
        packets: those towards the receiver.
        kinds: of these packets.
    """
    media = (kinds == MEDIA) | (kinds == PARITY)
    sent_us, due_us, is_data = packets.sent_us[media], packets.due_us[media], kinds[media] == MEDIA
    found = {}
    for index, frame in enumerate(frames):
        first = int(np.searchsorted(sent_us, frame.begun_us))
        if frame.coded_bytes is None:
            until_us = frames[index + 1].begun_us if index + 1 < len(frames) else NEVER
            end = int(np.searchsorted(sent_us, until_us))
            arrivals = due_us[first:end]
            needed = int(is_data[first:end].sum())
        else:
            needed = -(-frame.coded_bytes // TCP_PAYLOAD_BYTES)
            # What arrives first was sent first, but for reordering; this many hold the k-th for certain or it is far off.
            arrivals = due_us[first : first + 8 * needed + 200]
        if 0 < needed <= len(arrivals):
            kth = int(np.partition(arrivals, needed - 1)[needed - 1])
            if kth != NEVER:
                found[frame.number] = kth
    return found


def with_parity(frames: list[SentFrame], packets: Packets, kinds: NDArray[np.int64]) -> NDArray[np.int64]:
    """The kinds, with udpconf's parity told from its data, which the link cannot look into.

    A parity shard is as long as the longest shard of its frame (of its block, but frames of the lab have one) and the 7 bytes
    of a place. So a frame's parity is what is 7
    bytes longer than the longest of the rest. One frame in some hundred has such lengths by chance; it then counts as having
    a data packet less, which makes its ideal earlier, never too late.
    """
    kinds = kinds.copy()
    media = np.flatnonzero(kinds == MEDIA)
    starts = np.searchsorted(packets.sent_us[media], [frame.begun_us for frame in frames])
    for first, end in zip(starts, [*starts[1:], len(media)], strict=True):
        of_frame = media[first:end]
        lengths = np.unique(packets.size[of_frame])
        if len(lengths) > 1 and lengths[-1] - lengths[-2] == PARITY_PREFIX_BYTES:
            kinds[of_frame[packets.size[of_frame] == lengths[-1]]] = PARITY
    return kinds
