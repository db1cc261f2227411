"""A microphone's sound made fit for talking: less noise, no echo, an even loudness, no rumble (WebRTC's audio processing).

The ``livekit`` wheel carries WebRTC's module; it needs no server and is used for nothing else. It is an extra: whoever
does not ask for it does not need it, and whoever asks without having it is told the command.

                     microphone ─► process() ─► Opus
                                      ▲
    what the loudspeaker plays ─► played()        only then is there an echo to take away
"""

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from udpconf.errors import PIP, MissingDependencyError
from udpconf.limits import SECOND
from udpconf.media.opus import FRAME_SAMPLES, SAMPLE_RATE, as_channels

Pcm = NDArray[np.int16]

INSTALL_COMMAND = f"{PIP} install 'udpconf[voice]'"
# By so much the module delays sound, found by cross-correlation (tests/unit/test_voice.py finds it again): its filter
# banks take 333 samples, and the echo canceller, once it hears a loudspeaker, 384 more.
DELAY_US = 333 * SECOND // SAMPLE_RATE
ECHO_DELAY_US = 717 * SECOND // SAMPLE_RATE


class Voice:
    """One microphone's.

    ``process`` may be called from any one thread, ``played`` from any other.

    Raises:
        MissingDependencyError: livekit is not installed.
    """

    def __init__(self) -> None:
        self._rtc = load_livekit()
        self._near = _Cutter()
        self._far = _Cutter()
        self._far_lock = threading.Lock()
        # Without a loudspeaker the echo canceller would only add delay.
        self._cancels_echo = False
        self._module = self._new_module()

    def process(self, pcm: Pcm, capture_us: int) -> tuple[Pcm, int]:
        """Take int16[n] or int16[n, channels] at 48 kHz whose first sample was captured at ``capture_us``.

        Returns:
            int16[m], m a multiple of 480 that may be 0, and when its first sample was captured.

        Raises:
            ConfigError: the array is of another type or shape.
        """
        pending_us = self._near.pending * SECOND // SAMPLE_RATE
        module, delay_us = self._module, ECHO_DELAY_US if self._cancels_echo else DELAY_US
        blocks = [self._through(module.process_stream, block) for block in self._near.cut(pcm)]
        cleaned = np.concatenate(blocks) if blocks else np.empty(0, np.int16)
        return cleaned, capture_us - pending_us - delay_us

    def played(self, pcm: Pcm) -> None:
        """What a loudspeaker near the microphone plays, int16[n] or int16[n, channels] at 48 kHz, when it is given to it.

        From the first call on its echo is taken out of the microphone's sound, which costs 8 ms more.

        Raises:
            ConfigError: the array is of another type or shape.
        """
        with self._far_lock:
            blocks = self._far.cut(pcm)
            if not self._cancels_echo:
                self._cancels_echo = True
                self._module = self._new_module()
            for block in blocks:
                self._through(self._module.process_reverse_stream, block)

    def _new_module(self) -> Any:
        return self._rtc.AudioProcessingModule(
            echo_cancellation=self._cancels_echo,
            noise_suppression=True,
            high_pass_filter=True,
            auto_gain_control=True,
        )

    def _through(self, process: Any, block: Pcm) -> Pcm:
        data = bytearray(block.tobytes())  # the module writes into it
        process(self._rtc.AudioFrame(data, SAMPLE_RATE, 1, FRAME_SAMPLES))
        return np.frombuffer(data, np.int16)


class _Cutter:
    """Blocks of any length in, one channel of 10 ms a block out, as the module wants them."""

    def __init__(self) -> None:
        self._rest: Pcm = np.empty(0, np.int16)

    @property
    def pending(self) -> int:
        """Samples that wait for the rest of their block."""
        return len(self._rest)

    def cut(self, pcm: Pcm) -> list[Pcm]:
        samples = np.concatenate((self._rest, as_channels(pcm, 1)[:, 0]))
        whole = len(samples) - len(samples) % FRAME_SAMPLES
        self._rest = samples[whole:]
        return [samples[start : start + FRAME_SAMPLES] for start in range(0, whole, FRAME_SAMPLES)]


def load_livekit() -> Any:
    """The ``livekit.rtc`` module, or MissingDependencyError with the command that installs it."""
    try:
        from livekit import rtc  # noqa: PLC0415 - optional, and takes 0.2 s
    except ImportError as error:
        raise MissingDependencyError(
            f"Cleaning a voice needs livekit, which cannot be imported ({error}). Install it with `{INSTALL_COMMAND}`, "
            "or go on without (no --voice)."
        ) from error
    return rtc
