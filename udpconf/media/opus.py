"""Opus by libopus, which PyAV's wheel carries: sound in, frames of 5, 10 or 20 ms out; back again: media/opus_decoder.py.

Where ctypes can call the library (media/libopus.py), the bit rate can change. Elsewhere PyAV's codec does.

The low-delay application looks ahead 2.5 ms and is pure CELT, so a frame costs its length + 2.5 ms of delay in all. The
look-ahead is taken off the capture times here, once: ``OpusFrame.capture_us`` is when the sound that a decoder returns
for that frame was heard, and nobody else needs to know.
"""

import numpy as np
from numpy.typing import NDArray

from udpconf.errors import ConfigError
from udpconf.frames import OPUS_FRAME_US, OPUS_FRAMES_US
from udpconf.limits import MS, SECOND
from udpconf.media import libopus
from udpconf.media.native import av
from udpconf.media.silence import SilenceGate
from udpconf.media.steady_rate import RateControl, SteadyRate

Pcm = NDArray[np.int16]

SAMPLE_RATE = 48_000
# Unless another length is asked for.
FRAME_US = OPUS_FRAME_US
FRAME_SAMPLES = SAMPLE_RATE * FRAME_US // SECOND
# libopus' look-ahead with this application, which is also the pre-skip in the OpusHead it writes: 120 samples. Found
# again by cross-correlation in tests/unit/test_opus.py.
ENCODER_DELAY_US = 2_500
# A capture time that is off by more than this from the count of samples means missing sound, not a jittery callback.
CAPTURE_JUMP_US = 20 * MS
# Share of a capture time's error that is believed at once. Device callbacks wobble by a few ms; the drift of a sound
# card's clock (100 ppm) is followed with an error of some 20 us. Chosen, not measured.
CAPTURE_SMOOTHING = 1 / 16
LAYOUTS = {1: "mono", 2: "stereo"}
# The bit rate falls by an eighth a frame. libopus may have spent a frame's bits beforehand, and has them back at the new rate: from 64 to
# 29 kbit/s at once there is a frame of 3 bytes, which leaves -11 dBFS beside a sweep; so none is below 26.
FALL = 7 / 8


class OpusEncoder:
    """One stream's encoder.

    Args:
        bitrate_bps: mean of the compressed sound, without any header.
        channels: 1 or 2; mono input to a stereo encoder is doubled, more channels to a mono encoder are averaged.
        native: by ctypes where that can be done; False: by PyAV in any case.
        frame_us: how long a frame is: 5, 10 or 20 ms.

    Attributes:
        channels: as given.
        frame_samples: how many samples a frame has, in each channel.
    """

    def __init__(
        self,
        bitrate_bps: int = 32_000,
        channels: int = 1,
        *,
        native: bool = True,
        frame_us: int = FRAME_US,
    ) -> None:
        if frame_us not in OPUS_FRAMES_US:
            raise ConfigError(f"Opus is used with frames of 5, 10 or 20 ms, not {frame_us / MS:g}")
        if channels not in LAYOUTS:
            raise ConfigError(f"Opus is used with 1 or 2 channels, not {channels}")
        self.channels = channels
        self.frame_samples = samples_of(frame_us)
        self._bitrate_bps = self._wanted_bps = bitrate_bps
        library = libopus.load() if native else None
        self._native = (
            None if library is None else libopus.Encoder(library, SAMPLE_RATE, channels, bitrate_bps)
        )
        if self._native is None:
            self._layout = LAYOUTS[channels]
            self._context = av.AudioCodecContext.create("libopus", "w")
            self._context.sample_rate = SAMPLE_RATE
            self._context.layout = self._layout
            self._context.format = "s16"
            self._context.bit_rate = bitrate_bps
            self._context.options = {"application": "lowdelay", "frame_duration": str(frame_us // MS)}

    def set_bitrate(self, bitrate_bps: int) -> None:
        """From the next frames on, where that can be done; PyAV's encoder stays at what it began with."""
        self._wanted_bps = bitrate_bps

    def encode(self, pcm: Pcm) -> bytes:
        """Compress a frame: int16[frame_samples] or int16[frame_samples, channels]. Raises ConfigError for anything else."""
        block = as_channels(pcm, self.channels)
        if len(block) != self.frame_samples:
            raise ConfigError(f"an Opus frame is {self.frame_samples} samples here, got {len(block)}")
        if self._native is not None:
            if self._bitrate_bps != self._wanted_bps:
                self._bitrate_bps = max(self._wanted_bps, int(FALL * self._bitrate_bps))
                self._native.set_bitrate(self._bitrate_bps)
            return self._native.encode(block)
        frame = av.AudioFrame(format="s16", layout=self._layout, samples=self.frame_samples)
        frame.sample_rate = SAMPLE_RATE
        frame.planes[0].update(block.tobytes())
        return b"".join(bytes(packet) for packet in self._context.encode(frame))


class OpusFramer:
    """Cuts sound of any block length into Opus frames that know when they were captured.

    The time of a frame comes from counting samples, corrected gently by the times that the blocks carry: callbacks
    wobble, samples do not.

    Args:
        encoder: another than that of 32 kbit/s and one channel.
        rate_control: resample what a sound card counts differently from the clock (media/steady_rate.py); None: leave it.
        gate: leave out what is silent (media/silence.py); None: nothing.

    Attributes:
        encoder: what compresses it.
        jumps: how often sound was missing in the input, so that counting started again.
    """

    def __init__(
        self,
        encoder: OpusEncoder | None = None,
        rate_control: RateControl | None = None,
        gate: SilenceGate | None = None,
    ) -> None:
        self.encoder = encoder or OpusEncoder()
        self._gate = gate
        self._steady = None if rate_control is None else SteadyRate(rate_control, self.encoder.channels)
        self._pending: Pcm = np.empty((0, self.encoder.channels), np.int16)
        self._pending_us: float | None = None  # when the first pending sample was captured
        self.jumps = 0

    def push(self, pcm: Pcm, capture_us: int) -> list[tuple[bytes, int]]:
        """Take int16[n] or int16[n, channels] at 48 kHz whose first sample was captured at ``capture_us``.

        Returns:
            The frames that are now full, each with the capture time (microseconds, the clock of ``capture_us``) of
            the first sample that a decoder gives back for it; of silence that is left out, the marks.

        Raises:
            ConfigError: the array is of another type or shape.
        """
        block = as_channels(pcm, self.encoder.channels)
        if not len(block):
            return []
        if self._pending_us is None:
            self._pending_us = float(capture_us)
        else:
            error_us = capture_us - (self._pending_us + _duration_us(len(self._pending)))
            if abs(error_us) > CAPTURE_JUMP_US:
                # What is pending (less than a frame) belongs to a sound that broke off.
                self.jumps += 1
                self._pending = self._pending[:0]
                self._pending_us = float(capture_us)
                if self._steady is not None:
                    self._steady.restart()
            else:
                self._pending_us += error_us * CAPTURE_SMOOTHING
        if self._steady is not None:
            block = self._steady.follow(block, capture_us)
        samples = np.concatenate((self._pending, block)) if len(self._pending) else block
        frames: list[tuple[bytes, int]] = []
        length = self.encoder.frame_samples
        whole = len(samples) - len(samples) % length
        for start in range(0, whole, length):
            frame_us = int(self._pending_us + _duration_us(start)) - ENCODER_DELAY_US
            piece = samples[start : start + length]
            # Silence is encoded as well: the encoder has to know what came before the first frame that is sent again.
            data = self.encoder.encode(piece)
            sent = data if self._gate is None else self._gate.sent(piece, data)
            if sent is not None:
                frames.append((sent, frame_us))
        self._pending = samples[whole:].copy()
        self._pending_us += _duration_us(whole)
        return frames


def as_channels(pcm: Pcm, channels: int) -> Pcm:
    """Check int16[n] or int16[n, any], and return it as int16[n, channels]; ConfigError says what is wrong."""
    if not isinstance(pcm, np.ndarray) or pcm.dtype != np.int16:
        found = pcm.dtype if isinstance(pcm, np.ndarray) else type(pcm).__name__
        raise ConfigError(
            f"sound is a NumPy array of int16, got {found}: scale floats by 32767 and use .astype('int16')"
        )
    if pcm.ndim == 1:
        pcm = pcm[:, np.newaxis]
    if pcm.ndim != 2 or not 1 <= pcm.shape[1] <= 8:
        raise ConfigError(
            f"sound has the shape [samples] or [samples, channels (1 to 8)], got {list(pcm.shape)}"
        )
    if pcm.shape[1] == channels:
        return pcm
    averaged: Pcm = pcm.mean(axis=1, keepdims=True).astype(np.int16)
    return averaged if channels == 1 else np.repeat(averaged, channels, axis=1)


def samples_of(duration_us: int) -> int:
    """In each channel, at our rate."""
    return duration_us * SAMPLE_RATE // SECOND


def _duration_us(samples: int) -> float:
    return samples * 1_000_000 / SAMPLE_RATE
