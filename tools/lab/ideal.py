"""The earliest instant at which anybody could have had a frame, given what the link did to the packets of the run.

For a frame f of n data packets, let S(f) be the packets that were sent for it, with their arrival times a(p), infinite
for those that were lost. A perfect erasure code of the same overhead could have put what is needed into any k of them:

    ideal(f) = the k-th smallest a(p), p in S(f),    k = the frame's size in packets without any overhead

No scheme that sends these packets at these times can do better, whatever it puts into them: fewer than k packets do not
hold k packets' worth of picture. It may well do worse; and where fewer than k arrived, it is never.

* A datagram program without feedback sends S(f) between being given the frame and being given the next one, and
  k = ceil(|S(f)| * data_share), data_share = 1 / (1 + overhead). udpconf sends neither parity nor repairs at present, so
  data_share is 1 and k = |S(f)|: what is lost is lost for every code that sends nothing more.
* TCP repeats until it arrives, so S(f) is every data packet from the moment the program was given the frame, and
  k = ceil(the frame's bytes / the largest payload). With a backlog that is far from what TCP does: that is the point.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tools.lab.link_log import MEDIA, NEVER, Packets

# 1500 bytes without the headers of IP and TCP, with timestamps.
TCP_PAYLOAD_BYTES = 1448


class SentFrame(NamedTuple):
    """What is known of a frame at its sender."""

    number: int
    begun_us: int  # when the program was given it
    coded_bytes: int | None = None  # None: count its packets


def ideal_us(
    frames: list[SentFrame], packets: Packets, kinds: NDArray[np.int64], data_share: float = 1.0
) -> dict[int, int]:
    """The ideal arrival of each frame by its number, microseconds; a frame that nobody could have had is left out.

    Args:
        frames: in the order in which the program was given them.
        packets: those towards the receiver.
        kinds: of these packets.
        data_share: of the packets sent, how many hold data, 0..1.
    """
    media = kinds == MEDIA
    sent_us, due_us = packets.sent_us[media], packets.due_us[media]
    found = {}
    for index, frame in enumerate(frames):
        first = int(np.searchsorted(sent_us, frame.begun_us))
        if frame.coded_bytes is None:
            until_us = frames[index + 1].begun_us if index + 1 < len(frames) else NEVER
            arrivals = due_us[first : int(np.searchsorted(sent_us, until_us))]
            needed = -(-round(len(arrivals) * data_share * 1000) // 1000)
        else:
            needed = -(-frame.coded_bytes // TCP_PAYLOAD_BYTES)
            # What arrives first was sent first, but for reordering; this many hold the k-th for certain or it is far off.
            arrivals = due_us[first : first + 8 * needed + 200]
        if 0 < needed <= len(arrivals):
            kth = int(np.partition(arrivals, needed - 1)[needed - 1])
            if kth != NEVER:
                found[frame.number] = kth
    return found
