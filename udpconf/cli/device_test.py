"""``udpconf devices --test``: a second from the microphone, and the same second from the speaker."""

import math
import threading
import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from udpconf.errors import DeviceError
from udpconf.media.audio_stream import SAMPLE_RATE
from udpconf.media.microphone import Microphone
from udpconf.media.mixer import FULL_SCALE, peak_of
from udpconf.media.speaker import Speaker

RECORD_S = 1.0
# PulseAudio was seen to bring nothing for 0.9 s after a stream is opened.
PATIENCE_S = 5.0
# As much as the speaker's ring takes without loss.
BLOCK_SAMPLES = SAMPLE_RATE // 100
RING_US = 50_000
# Quieter than that is a microphone that is muted or not plugged in; a quiet room is at -60 dBFS or so.
SILENT_DBFS = -80.0


class Tested(NamedTuple):
    """What came of it."""

    microphone: str
    speaker: str
    peak_dbfs: float
    recorded_after_ms: float  # from opening the microphone to the first sound
    speaker_latency_ms: float


def run_test(microphone: str | None, speaker: str | None) -> Tested:
    """Record a second and play it.

    Raises:
        DeviceError: one of them is not there, does not open, or brings nothing.
        MissingDependencyError: PyAudio is not installed.
    """
    name, pcm, waited_s = _record(microphone)
    peak = peak_of(pcm) / FULL_SCALE
    played_on, latency_us = _play(pcm, speaker)
    return Tested(
        name, played_on, 20 * math.log10(peak) if peak > 0 else -math.inf, waited_s * 1000, latency_us / 1000
    )


def _record(wanted: str | None) -> tuple[str, NDArray[np.int16], float]:
    microphone = Microphone(wanted)
    blocks: list[NDArray[np.int16]] = []
    enough = threading.Event()
    first_s: list[float] = []

    def take(pcm: NDArray[np.int16], capture_us: int) -> None:
        if not blocks:
            first_s.append(time.monotonic())
        blocks.append(pcm)
        if sum(map(len, blocks)) >= RECORD_S * SAMPLE_RATE:
            enough.set()

    opened_s = time.monotonic()
    microphone.start(None, take)
    try:
        complete = enough.wait(PATIENCE_S)
    finally:
        microphone.stop()
    if not complete:
        raise DeviceError(
            f"The {microphone.description} opens, but brings no sound. Is it in use by another program, or is the "
            "sound server stuck? `udpconf devices` lists the others."
        )
    pcm = np.concatenate(blocks)[: int(RECORD_S * SAMPLE_RATE)]
    return microphone.description, pcm, first_s[0] - opened_s


def _play(pcm: NDArray[np.int16], wanted: str | None) -> tuple[str, int]:
    speaker = Speaker(wanted)
    latency_us = 0
    try:
        give_up_s = time.monotonic() + RECORD_S + PATIENCE_S
        for start in range(0, len(pcm), BLOCK_SAMPLES):
            while speaker.queued_us >= RING_US or not speaker.alive:
                if time.monotonic() > give_up_s:
                    raise DeviceError(
                        f"The speaker '{speaker.name}' opens, but takes no sound. Is it in use by another program?"
                    )
                time.sleep(0.005)
            speaker.write(pcm[start : start + BLOCK_SAMPLES])
            latency_us = max(latency_us, speaker.latency_us - speaker.queued_us)
        time.sleep((speaker.latency_us + RING_US) / 1e6)
        return f"speaker '{speaker.name}'", latency_us
    finally:
        speaker.close()
