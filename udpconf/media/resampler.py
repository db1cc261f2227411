"""Sound played a hair faster or slower, so that two sound cards' clocks agree (libsamplerate, by way of samplerate).

Until the ratio is first anything but 1, blocks pass as they are. Then libsamplerate's state is filled with what passed
last and its delay begins: 20 samples, once, by which the first block gets shorter. From there on the sound is
continuous, however the ratio changes: within a block it goes evenly from the last one to the new one.

Measured on 10 ms blocks, tones of -12 dBFS at 1 and 8 kHz, ratio 1.0002: soxr (variable rate) 80 and 81 dB of signal
to noise, 5.0 ms of delay, 0.07 ms a block; samplerate's sinc_fastest 83 and 86 dB, 0.42 ms and 0.09 ms; sinc_medium 82
and 86 dB, 0.97 ms and 0.16 ms; linear 27 dB at 8 kHz.
"""

import numpy as np
import samplerate
from numpy.typing import NDArray

Pcm = NDArray[np.int16]

# Nobody goes further than scrcpy's compensation: 2 % is a third of a semitone.
RATIO_MIN, RATIO_MAX = 0.98, 1.02
# The ratio goes no faster than 1 % a second, whatever is wanted: at 4 kHz 0.4 Hz in 10 ms, which nobody hears.
SLEW_PER_BLOCK = 1e-4
# Filled in before the first block: more than the filter is long (41 samples at ratios near 1).
HISTORY = 64
# At most so many at a time. The binding forgets input for which its output has no room (its issue 7): when the ratio
# falls, that is up to half a piece times the fall, and mostly waits in the library's own buffer. With 960 samples and
# falls of 2 % some was lost, with 480 none was seen; with our slew it is 0.02 samples.
PIECE = 480


class Resampler:
    """One stream's, block after block.

    Attributes:
        wanted: samples out for each sample in, within 1 +- 2 %; approached by 0.01 % in 10 ms.
        ratio: that of the latest block.
    """

    def __init__(self, channels: int) -> None:
        self.wanted = self.ratio = 1.0
        self._channels = channels
        self._passed: Pcm = np.zeros((HISTORY, channels), np.int16)
        self._converter: samplerate.Resampler | None = None
        self._repeated = 0  # samples still to come that were put out before the converter took over

    def resample(self, block: Pcm) -> Pcm:
        """int16[n, channels] at 48 kHz in; out as many samples times ``ratio``, give or take one: they add up exactly."""
        if self._converter is None and self.wanted == 1.0:
            # The block itself is kept: joining the last samples of each would cost more than all else here.
            longer = len(block) >= HISTORY
            self._passed = block if longer else np.concatenate((self._passed[-HISTORY:], block))
            return block
        wanted = min(max(self.wanted, RATIO_MIN), RATIO_MAX)
        slew = SLEW_PER_BLOCK * (len(block) / PIECE)
        self.ratio += min(max(wanted - self.ratio, -slew), slew)
        if self._converter is None:
            self._converter = samplerate.Resampler("sinc_fastest", self._channels)
            # All that has passed comes out again, some of it only with the next block.
            self._repeated = HISTORY - len(
                self._converter.process(self._passed[-HISTORY:].astype(np.float32), 1.0)
            )
        pieces = [
            self._converter.process(block[start : start + PIECE].astype(np.float32), self.ratio)
            for start in range(0, len(block), PIECE)
        ]
        samples = np.concatenate(pieces) if len(pieces) != 1 else pieces[0]
        if self._repeated:
            again = min(self._repeated, len(samples))
            self._repeated -= again
            samples = samples[again:]
        resampled: Pcm = np.clip(np.rint(samples), -32768, 32767).astype(np.int16)
        return resampled
