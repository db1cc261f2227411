"""One client's sound on its way from frames to the 5 ms that are played next.

Frames come from the jitter buffer when they are due, are decoded, resampled by what the sender's and the loudspeaker's clocks
differ by, and made longer or shorter at the same pitch when the buffer wishes so; what is left over from the last 5 ms comes first.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from udpconf.frames import OpusFrame, is_silence_mark
from udpconf.limits import SECOND
from udpconf.media.mixer import FULL_SCALE, crossfade, doubled, peak_of
from udpconf.media.opus import SAMPLE_RATE, OpusDecoder, samples_of
from udpconf.media.resampler import Resampler
from udpconf.media.time_stretch import (
    FADE,
    GOOD_LIKENESS,
    HURRIED_LIKENESS,
    LAG_MAX,
    LAG_MIN,
    PLACE_STEP,
    PLACES_MAX,
    lengthen,
    shorten,
)
from udpconf.proto.audio_jitter import AudioJitterBuffer
from udpconf.proto.audio_target import PLAY_US
from udpconf.proto.drift import BLOCK_US, LEARN_WITHIN_US, DriftControl

Pcm = NDArray[np.int16]

PLAY_SAMPLES = SAMPLE_RATE * PLAY_US // SECOND
# The longest period may be repeated.
HEARD_SAMPLES = LAG_MAX
# So much sound is measured at a time, for the meter.
METER_SAMPLES = SAMPLE_RATE * 15 // 1000
# The meter falls by 20 dB in a third of a second, as a peak programme meter's needle does.
LEVEL_FALL = 0.966
# To leave out any period, so much sound is needed.
AT_HAND_SAMPLES = LAG_MAX + FADE
# All places to leave from that are looked at have been played by then: before, one would mostly look at the same again.
LOOK_AGAIN_BLOCKS = PLACES_MAX * PLACE_STEP // PLAY_SAMPLES + 1
# Where none is found, it is looked for half as often the next time, so many times: down to once in 80 ms. A look takes as long as
# six frames do.
LOOK_LESS_TIMES = 2


class ClientSound:
    """Belongs to the sound thread.

    Attributes:
        buffer: where its frames wait.
        latency_us: it is heard so long after its capture at least; 0: as early as the path allows.
        arrived: the frames that the latest ``play`` took out of the buffer, in order; a recording wants them.
        capture_us: when the first sample that the latest ``play`` gave was captured.
        bridges: so many lost frames the latest ``play`` made up of earlier sound, or tried to, which takes a while.
        volume: how loud it goes into the mix, 1 is as it came. Set it from any thread.
        level: how loud it is, 0..1 of full scale: the peak, falling slowly; before the volume.
    """

    def __init__(self, latency_us: int) -> None:
        self.buffer = AudioJitterBuffer()
        self.latency_us = latency_us
        self.arrived: Sequence[OpusFrame] = ()
        self.capture_us = 0
        self.bridges = 0
        self.volume = 1.0
        self.level = 0.0
        self._mixed_volume = 1.0
        self._may_bridge = True
        self._rests = False  # the last that was popped was silence that the sender left out
        self._decoder: OpusDecoder | None = None  # not made until somebody wants to hear
        self._look_again = 0  # blocks until a place to make it longer or shorter is looked for once more
        self._looked = 0  # in vain, since it was last as long as wished for
        self._drift = DriftControl()
        self._undrifted_us = 0  # of what has played, not told to it yet
        self._channels = 1  # of what is played: two from the first stereo frame on
        self._resampler = Resampler(self._channels)
        # What was played last, HEARD_SAMPLES at least, and what is played next.
        self._pcm: Pcm = np.zeros((HEARD_SAMPLES, 1), np.int16)
        self._next = HEARD_SAMPLES  # where that begins
        self._next_capture_us = 0
        self._unmeasured = 0  # so many samples at the end of it

    def play(
        self, now_us: int, ahead_us: int, blocks: int = 1, *, audible: bool, may_bridge: bool = True
    ) -> Pcm | None:
        """The next 5 ms or more, int16[240 * blocks, 1 or 2]; None: there is nothing to play.

        Args:
            now_us: the time of the call.
            ahead_us: so much was taken at this time already, and is heard before this.
            blocks: so many times 5 ms.
            audible: somebody wants to hear it. If not, frames go the same way, but are not decoded.
            may_bridge: there is time to make up a lost frame well.
        """
        if self.arrived:
            self.arrived = ()
        self.bridges = 0
        self._may_bridge = may_bridge
        self.level *= LEVEL_FALL**blocks
        self._look_again -= blocks
        samples = blocks * PLAY_SAMPLES
        while len(self._pcm) < self._next + samples and self._pop(now_us, ahead_us, audible=audible):
            if not self.buffer.wish_us:
                self._looked = 0
            elif self._look_again <= 0:
                self._follow_wish(now_us, ahead_us, audible=audible)
        if len(self._pcm) < self._next + samples:
            if len(self._pcm) == self._next:
                return None
            self._append(self._silence(samples))  # the end of what there was
            self._pcm = self._pcm[: self._next + samples]
        first = self._next
        self._next = first + samples
        self.capture_us = self._next_capture_us
        self._next_capture_us += blocks * PLAY_US
        return self._pcm[first : self._next]

    def at_volume(self, block: Pcm) -> NDArray[np.float32] | Pcm:
        """The block as it goes into the mix; the volume goes evenly from the last one to a new one."""
        before, self._mixed_volume = self._mixed_volume, self.volume
        if before == self._mixed_volume == 1.0:
            return block
        gain = np.linspace(before, self._mixed_volume, len(block), dtype=np.float32)
        louder: NDArray[np.float32] = block * gain[:, np.newaxis]
        return louder

    def farewell(self, blocks: int = 1) -> Pcm | None:
        """The last 5 ms of who has left, fading out, so that it ends without a click, and silence; None: it was silent."""
        if self._decoder is None or not self._pcm[self._next - 1].any():
            return None
        if len(self._pcm) < self._next + PLAY_SAMPLES:
            self._append(self._decoder.conceal(samples=PLAY_SAMPLES).reshape(PLAY_SAMPLES, -1))
        fading = crossfade(self._pcm[self._next :][:PLAY_SAMPLES], self._silence(PLAY_SAMPLES))
        return np.concatenate((fading, self._silence((blocks - 1) * PLAY_SAMPLES)))

    def _append(self, pcm: Pcm) -> None:
        """It is played after all else; what was played longer ago than anybody asks for goes."""
        self._pcm = np.concatenate((self._pcm[self._next - HEARD_SAMPLES :], pcm))
        self._next = HEARD_SAMPLES
        self._unmeasured += len(pcm)
        if self._unmeasured >= METER_SAMPLES:
            self.level = max(self.level, peak_of(self._pcm[-self._unmeasured :]) / FULL_SCALE)
            self._unmeasured = 0

    def _pop(self, now_us: int, ahead_us: int, *, audible: bool, early: bool = False) -> bool:
        ready_us = (len(self._pcm) - self._next) * SECOND // SAMPLE_RATE
        frame = self.buffer.pop(now_us, ahead_us + ready_us, early=early)
        skipped = self.buffer.skipped
        if skipped:
            self.arrived = (*self.arrived, *skipped)
        if frame is None:
            return False
        if frame.data is not None:
            self.arrived = (*self.arrived, frame)
        if frame.channels > self._channels:
            self._widen()
        if not audible:
            self._append(self._silence(samples_of(self.buffer.silence_us or self._duration_us(frame))))
        elif self.buffer.silence_us > 0:
            self._append(self._resampler.resample(self._rest()))
            self._rests = True
        else:
            if frame.data is not None:
                self._follow_drift(frame.duration_us)
            self._append(self._resampler.resample(self._decode(frame, skipped)))
            self._rests = False
        self._next_capture_us = frame.capture_us - ready_us
        return True

    def _widen(self) -> None:
        """The first stereo frame has come, mostly the first of all; a mono frame after it is doubled by the decoder.

        A stereo sender that loses much has so few bits that libopus makes mono frames of them: it would go to and fro.
        """
        self._channels = 2
        self._resampler = Resampler(self._channels)
        self._decoder = None
        self._pcm = doubled(self._pcm)

    def _rest(self) -> Pcm:
        """What the sender left out: the first of it fades, so that nothing clicks."""
        samples = samples_of(self.buffer.silence_us)
        if self._rests or self._decoder is None:
            return self._silence(samples)
        return self._decoder.fade_out(samples).reshape(samples, -1)

    def _silence(self, samples: int) -> Pcm:
        return np.zeros((samples, self._channels), np.int16)

    def _follow_drift(self, played_us: int) -> None:
        # A delay that is far off is for stretching to mend, and says nothing of clocks.
        astray_us = self.buffer.astray_us
        self._undrifted_us += played_us
        while self._undrifted_us >= BLOCK_US:
            self._undrifted_us -= BLOCK_US
            if self._drift.ratio != 1 or abs(astray_us) <= LEARN_WITHIN_US:
                self._resampler.wanted = self._drift.update(astray_us, self.buffer.carried_us)

    def _duration_us(self, frame: OpusFrame) -> int:
        return self.buffer.frame_us if frame.data is None else frame.duration_us

    def _follow_wish(self, now_us: int, ahead_us: int, *, audible: bool) -> None:
        wish_us, hurried = self.buffer.wish_us, self.buffer.impatient
        samples = abs(wish_us) * SAMPLE_RATE // SECOND
        if wish_us < 0:
            if samples < LAG_MIN:
                return
            while len(self._pcm) < self._next + AT_HAND_SAMPLES and self.buffer.next_waits:
                self._pop(now_us, ahead_us, audible=audible, early=True)
        change = lengthen if wish_us > 0 else shorten
        changed = change(
            self._pcm[self._next - HEARD_SAMPLES :],
            HEARD_SAMPLES,
            max(samples, LAG_MIN),
            HURRIED_LIKENESS if hurried else GOOD_LIKENESS,
        )
        if changed.added:
            self._pcm = np.concatenate((self._pcm[: self._next], changed.pcm))
            self.buffer.handle_stretch(changed.added * SECOND // SAMPLE_RATE)
            self._looked = 0
        else:
            self._look_again = LOOK_AGAIN_BLOCKS << min(self._looked, LOOK_LESS_TIMES)
            self._looked += 1

    def _decode(self, frame: OpusFrame, skipped: Sequence[OpusFrame]) -> Pcm:
        """int16[n, 1 or 2] for this frame. A frame that was left out goes over into this one, so that nothing clicks."""
        if self._decoder is None:
            self._decoder = OpusDecoder(self._channels)
        left_out = skipped[-1] if skipped and not is_silence_mark(skipped[-1].data or b"") else None
        before = self._sound(left_out, self._decoder) if left_out is not None else None
        pcm = self._sound(frame, self._decoder)
        # The lengths differ if a sender changes them as no sender of ours does.
        return pcm if before is None or len(before) != len(pcm) else crossfade(before, pcm)

    def _sound(self, frame: OpusFrame, decoder: OpusDecoder) -> Pcm:
        samples = samples_of(self._duration_us(frame))
        if frame.data is None:
            before = decoder.bridges
            made_up = decoder.conceal(self.buffer.following, samples, may_bridge=self._may_bridge)
            self.bridges += decoder.bridges - before
            return made_up.reshape(samples, -1)
        return decoder.decode(frame.data).reshape(samples, -1)
