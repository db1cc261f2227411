"""Sound as subscribers get it: in blocks of 5 ms, however much is made at a time."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from udpconf.app.client_sound import PLAY_SAMPLES
from udpconf.limits import SECOND
from udpconf.media.opus import SAMPLE_RATE
from udpconf.net.mailbox import BoundedQueue

Pcm = NDArray[np.int16]


class SoundBlock(NamedTuple):
    """Sound as it should be played, 5 ms once it is handed out."""

    pcm: Pcm  # int16[240, 1 or 2] at 48 kHz
    client_id: str | None  # None: all clients mixed
    capture_us: int | None  # CLOCK_MONOTONIC of this machine at the first sample; None when mixed


def hand_out(queue: BoundedQueue[SoundBlock], sound: SoundBlock) -> None:
    """Put it there in blocks of 5 ms, whose memory is nobody else's."""
    pcm, client_id, capture_us = sound
    for start in range(0, len(pcm), PLAY_SAMPLES):
        from_us = None if capture_us is None else capture_us + start * SECOND // SAMPLE_RATE
        queue.put(SoundBlock(pcm[start : start + PLAY_SAMPLES].copy(), client_id, from_us))
