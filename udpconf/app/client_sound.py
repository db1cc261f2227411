"""One client's sound on its way from frames to the 5 ms that are played next.

Frames come from the jitter buffer when they are due, are decoded, resampled by what the sender's and the loudspeaker's clocks
differ by, and made longer or shorter at the same pitch when the buffer wishes so; what is left over from the last 5 ms comes first.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from udpconf.frames import OpusFrame, is_silence_mark, opus_duration_us
from udpconf.limits import SECOND
from udpconf.media.mixer import FULL_SCALE, crossfade, doubled
from udpconf.media.opus import SAMPLE_RATE, samples_of
from udpconf.media.opus_decoder import OpusDecoder
from udpconf.media.resampler import Resampler
from udpconf.media.tape import Tape
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
# The meter falls by 20 dB in a third of a second, as a peak programme meter's needle does.
LEVEL_FALL = 0.966
# To leave out any period, so much sound is needed.
AT_HAND_SAMPLES = LAG_MAX + FADE
# So far beyond its target the delay may come, or it would be changed back: at 2 ms, which is where that begins, a tone in 30 ms of jitter
# was changed four times as often. With it 2.5 ms, the least that is wished for, are a period of 250 Hz.
BEYOND_SAMPLES = SAMPLE_RATE * 1_500 // SECOND
# All places to leave from that are looked at have been played by then: before, one would mostly look at the same again.
LOOK_AGAIN_BLOCKS = PLACES_MAX * PLACE_STEP // PLAY_SAMPLES + 1
# Where none is found, it is looked for half as often the next time, so many times: down to once in 80 ms. A look takes as long as
# six frames do.
LOOK_LESS_TIMES = 2


class ClientSound:
    """Belongs to the sound thread.

    Attributes:
        buffer: where its frames wait.
        has_sent: a frame has come since it joined.
        latency_us: it is heard so long after its capture at least; 0: as early as the path allows.
        arrived: the frames that the latest ``play`` took out of the buffer, in order; a recording wants them.
        capture_us: when the first sample that the latest ``play`` gave was captured.
        bridges: so many lost frames the latest ``play`` made up of earlier sound, or tried to, which takes a while.
        volume: how loud it goes into the mix, 1 is as it came. Set it from any thread.
        level: how loud it is, 0..1 of full scale: the peak, falling slowly; before the volume.
    """

    def __init__(self, latency_us: int) -> None:
        self.buffer = AudioJitterBuffer()
        self.has_sent = False
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
        self._tape = Tape(HEARD_SAMPLES, self._channels)
        self._next_capture_us = 0

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
        while self._tape.waiting < samples and self._pop(now_us, ahead_us, audible=audible):
            if not self.buffer.wish_us:
                self._looked = 0
            elif self._look_again <= 0:
                self._follow_wish(now_us, ahead_us, audible=audible)
        tape = self._tape
        if tape.waiting < samples:
            if not tape.waiting:
                return None
            tape.append(self._silence(samples - tape.waiting))  # the end of what there was
        self.capture_us = self._next_capture_us
        self._next_capture_us += blocks * PLAY_US
        return tape.take(samples)

    def measure(self, peak: float) -> None:
        """The largest magnitude in what the latest ``play`` gave, for the meter."""
        self.level = max(self.level, peak / FULL_SCALE)

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
        tape = self._tape
        if self._decoder is None or not tape.at_hand[HEARD_SAMPLES - 1].any():
            return None
        if tape.waiting < PLAY_SAMPLES:
            tape.append(self._decoder.conceal(samples=PLAY_SAMPLES).reshape(PLAY_SAMPLES, -1))
        fading = crossfade(tape.take(PLAY_SAMPLES), self._silence(PLAY_SAMPLES))
        return np.concatenate((fading, self._silence((blocks - 1) * PLAY_SAMPLES)))

    def _pop(self, now_us: int, ahead_us: int, *, audible: bool, early: bool = False) -> bool:
        ready_us = self._tape.waiting * SECOND // SAMPLE_RATE
        buffer = self.buffer
        frame = buffer.pop(now_us, ahead_us + ready_us, early=early)
        skipped = buffer.skipped
        if skipped:
            self.arrived = (*self.arrived, *skipped)
        if frame is None:
            return False
        data, silence_us = frame.data, buffer.silence_us
        if data is not None:
            self.arrived = (*self.arrived, frame)
            if self._channels == 1 and frame.channels == 2:
                self._widen()
        duration_us = buffer.frame_us if data is None else opus_duration_us(data)
        self._next_capture_us = frame.capture_us - ready_us
        if not audible:
            self._decoder = None  # it would remember what was before that
            pcm = self._silence(samples_of(silence_us or duration_us))
        elif silence_us > 0:
            pcm = self._resampler.resample(self._rest(samples_of(silence_us)))
        else:
            if data is not None:
                self._follow_drift(duration_us)
            samples = samples_of(duration_us)
            decoded = self._decode(data, samples, skipped)
            if len(decoded) != samples:
                # It came late, and was entered where it was like what had been made up.
                added_us = (len(decoded) - samples) * SECOND // SAMPLE_RATE
                buffer.handle_stretch(added_us)
                self._next_capture_us -= added_us
            pcm = self._resampler.resample(decoded)
        self._rests = silence_us > 0
        self._tape.append(pcm)
        return True

    def _widen(self) -> None:
        """The first stereo frame has come, mostly the first of all; a mono frame after it is doubled by the decoder.

        A stereo sender that loses much has so few bits that libopus makes mono frames of them: it would go to and fro.
        """
        self._channels = 2
        self._resampler = Resampler(self._channels)
        self._decoder = None
        tape, self._tape = self._tape, Tape(HEARD_SAMPLES, 2)
        self._tape.append(doubled(tape.at_hand))
        self._tape.take(HEARD_SAMPLES)

    def _rest(self, samples: int) -> Pcm:
        """What the sender left out: the first of it fades, so that nothing clicks."""
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

    def _follow_wish(self, now_us: int, ahead_us: int, *, audible: bool) -> None:
        wish_us, hurried = self.buffer.wish_us, self.buffer.impatient
        samples = abs(wish_us) * SAMPLE_RATE // SECOND
        if wish_us < 0:
            if samples < LAG_MIN:
                return
            while self._tape.waiting < AT_HAND_SAMPLES and self.buffer.next_waits:
                if not self._pop(now_us, ahead_us, audible=audible, early=True):
                    break
        change = lengthen if wish_us > 0 else shorten
        changed = change(
            self._tape.at_hand,
            HEARD_SAMPLES,
            max(samples, LAG_MIN),
            HURRIED_LIKENESS if hurried else GOOD_LIKENESS,
            beyond=BEYOND_SAMPLES,
        )
        if changed.added:
            self._tape.replace(changed.pcm)
            self.buffer.handle_stretch(changed.added * SECOND // SAMPLE_RATE)
            self._looked = 0
        else:
            self._look_again = LOOK_AGAIN_BLOCKS << min(self._looked, LOOK_LESS_TIMES)
            self._looked += 1

    def _decode(self, data: bytes | None, samples: int, skipped: Sequence[OpusFrame]) -> Pcm:
        """int16[n, 1 or 2] for this frame. A frame that was left out goes over into this one, so that nothing clicks."""
        if self._decoder is None:
            self._decoder = OpusDecoder(self._channels)
        left_out = skipped[-1].data if skipped else None
        if left_out is None or is_silence_mark(left_out):
            return self._sound(data, samples, self._decoder, self.buffer.inserted)
        before = self._sound(left_out, samples_of(opus_duration_us(left_out)), self._decoder)
        pcm = self._sound(data, samples, self._decoder)
        # The lengths differ if a sender changes them as no sender of ours does.
        return pcm if len(before) != len(pcm) else crossfade(before, pcm)

    def _sound(self, data: bytes | None, samples: int, decoder: OpusDecoder, inserted: int = 0) -> Pcm:
        if data is None:
            before = decoder.bridges
            made_up = decoder.conceal(self.buffer.following, samples, may_bridge=self._may_bridge)
            self.bridges += decoder.bridges - before
            return made_up.reshape(samples, -1)
        return decoder.decode(data, inserted).reshape(-1, self._channels)
