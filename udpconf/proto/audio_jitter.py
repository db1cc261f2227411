"""When each frame of sound is due: one client's audio jitter buffer, free of clocks and threads.

Whoever plays calls ``pop`` whenever it has less left than the next 5 ms take. Frames wait here until they are as old as
the target delay (audio_target.py). When the real delay strays from the target (jitter came or went), ``wish_us`` says by how much
what comes next should be made longer or shorter, at the same pitch; the player says by how much it was. Only when it is far too
late, frames are left out.

Nothing has arrived at all: sound is made up, not lost, so a burst of late frames costs latency for a second, not
speech. Something later has arrived: the frame is lost.

At a silence mark (frames.py) the buffer rests: nothing is missing, so nothing is made up, until what comes next is as old as the
target. Whatever the delay was before, from then on it is the target.
"""

from collections import deque
from dataclasses import dataclass

from udpconf.frames import OPUS_FRAME_US, SILENCE_MAX_US, OpusFrame, is_silence_mark, opus_duration_us
from udpconf.limits import AUDIO_BUFFER_US, MS, SECOND
from udpconf.proto.audio_target import PLAY_US, AudioTarget

FRAME_US = OPUS_FRAME_US  # unless the frames that come say otherwise
# The delay may be less than the target by the one and more by the other. Sound is made longer or shorter by at least 2.5 ms
# (media/time_stretch.py), so together they are more, or it would be done in turns; being late is the worse of the two.
RAISE_US = 2 * MS
LOWER_US = 2_500
# Noise in the calls of pop() is averaged out over this many of them.
DELAY_SMOOTHING = 1 / 16
# How long no good place may be found before a worse one will do. Chosen, not measured.
PATIENCE_US = 1 * SECOND
# So far above the target whole frames are left out, each going over into the next one.
HURRY_US = 60 * MS
# A stream that is silent for so long has been muted or has gone: no concealment, and a clean start afterwards.
GAP_US = 200 * MS
# At rest, what is due so soon is due: less could not be cut from silence in whole samples.
DUE_WITHIN_US = 100
# Consecutive frames whose capture times are further from one frame apart than this have a hole in the sound between them.
CAPTURE_JUMP_US = 20 * MS
# How far back a second arrival is told from a late one.
REMEMBERED_FRAMES = 128


@dataclass(slots=True)
class AudioCounts:
    """What became of the frames: pushed = played + skipped + duplicate + late + dropped + those that wait."""

    pushed: int = 0
    played: int = 0
    skipped: int = 0  # left out, as it was far too late
    duplicate: int = 0  # had arrived before
    late: int = 0  # its time was over
    dropped: int = 0  # the buffer was full
    lost: int = (
        0  # never came in time, concealed; what is missing beside a silence mark was a mark or as good as one
    )
    stretched: int = 0  # concealment played while waiting, in place of no frame, as far as one knows
    lengthened_us: int = 0  # made longer by so much, all in all
    shortened_us: int = 0
    silent_us: int = 0  # silence played in place of what the sender left out


class AudioJitterBuffer:
    """One stream's frames between the network and the decoder.

    Attributes:
        counts: see AudioCounts.
        skipped: the frames that the latest ``pop`` left out, and the silence marks that it passed, in order; a recording wants them.
        frame_us: how long the frames are that come; made-up ones are as long.
        inserted: after ``pop``: of the frames that were made up just before, so many replaced none: what was popped was late, not lost.
        silence_us: after ``pop``: what was popped is so much silence, whatever its data; 0: it is sound, or nothing.
        wish_us: after ``pop``: what was popped, and what comes next, should become longer by so much, or shorter (negative).
        impatient: the wish has not been granted for a while.
        carried_us: so much longer has the delay become, all in all, without anything being done here: what clocks that differ do.
    """

    def __init__(self) -> None:
        self.counts = AudioCounts()
        self.skipped: list[OpusFrame] = []
        self.frame_us = FRAME_US
        self.inserted = 0
        self.silence_us = 0
        self.wish_us = 0
        self.impatient = False
        self.carried_us = 0.0
        self._target = AudioTarget()
        self._waiting: dict[int, OpusFrame] = {}
        self._last: int | None = None  # highest sequence number that was played, lost, skipped or dropped
        self._recent: deque[int] = deque(maxlen=REMEMBERED_FRAMES)  # of those, the ones that had arrived
        self._running = False
        self._clock_us = 0  # while running: capture time of the sound that is due next
        self._delay_us = 0.0  # while running: smoothed time from capture to pop
        self._stretching = 0  # pops since the last one that dealt with a frame
        self._resting_us: int | None = None  # while it rests: since the last mark
        self._astray_us: int | None = (
            None  # since when the delay has been away from the target, and nothing was done
        )
        self._last_pop_us: int | None = None

    @property
    def target_us(self) -> int | None:
        """The delay from capture to ``pop`` that is aimed at; None before the first frame."""
        return self._target.target_us

    @property
    def least_us(self) -> int:
        """The target is not lower, however calm the path: pictures that are held for a latency want company."""
        return self._target.least_us

    @least_us.setter
    def least_us(self, least_us: int) -> None:
        self._target.least_us = least_us

    @property
    def delay_us(self) -> int | None:
        """Smoothed time from capture to ``pop``, microseconds; None while nothing plays."""
        return round(self._delay_us) if self._running else None

    # --- input -------------------------------------------------------------------------------------------------------

    def push(
        self, sequence_number: int, capture_us: int, data: bytes, arrival_us: int, *, copy: bool = False
    ) -> None:
        """Take a frame that arrived: an original, or the copy that a later packet carried.

        Args:
            sequence_number: counts frames, unwrapped.
            capture_us: on this machine's clock.
            data: one Opus frame.
            arrival_us: when its packet came.
            copy: it came in place of an original that had not arrived.
        """
        self.counts.pushed += 1
        past = self._last is not None and sequence_number <= self._last
        if sequence_number in self._waiting or (past and sequence_number in self._recent):
            self.counts.duplicate += 1
            return
        self.frame_us = opus_duration_us(data)
        self._target.handle_arrival(arrival_us - capture_us, self.frame_us)
        if past:
            self.counts.late += 1
            return
        self._waiting[sequence_number] = OpusFrame(capture_us, data)
        while len(self._waiting) > AUDIO_BUFFER_US // self.frame_us:
            oldest = min(self._waiting)
            del self._waiting[oldest]
            self.counts.dropped += 1
            self._pass(oldest)

    # --- output ------------------------------------------------------------------------------------------------------

    def pop(self, now_us: int, ahead_us: int = 0, *, early: bool = False) -> OpusFrame | None:
        """What to play next: a frame.

        Args:
            now_us: the time of the call.
            ahead_us: so much was popped, and is still to be played before this.
            early: as it waits, it is taken, but it is not needed yet.

        Returns:
            A frame; one without data where sound is to be made up, or which is silence (``silence_us``); None when there is
            nothing to play at all.
        """
        if self.skipped:
            self.skipped = []
        self.inserted = 0
        self.silence_us = 0
        self.wish_us = 0
        if not early:
            self._target.handle_pop(ahead_us)
        if self._last_pop_us is not None and now_us - self._last_pop_us > GAP_US:
            self._running = False  # nobody listened
        self._last_pop_us = now_us
        if not self._running and not self._start(now_us):
            return None
        if self._resting_us is not None:
            return self._rest(now_us + ahead_us)
        if not self._waiting:
            return self._stretch()
        assert self._last is not None
        first = self._last + 1 if self._last + 1 in self._waiting else min(self._waiting)
        if self._is_mark(first):
            self._resting_us = now_us
            return self._rest(now_us + ahead_us)
        inserted = self._stretching
        missing = first - self._last - 1
        if missing > GAP_US // self.frame_us:
            self._running = False
            return self.pop(now_us, ahead_us, early=early)
        if missing:
            # Each stretched frame already stood for one of them.
            stood_for = min(inserted, missing)
            inserted -= stood_for
            self._lose(self._last + stood_for)
            self._clock_us += stood_for * self.frame_us
            self._delay_us -= stood_for * self.frame_us
            self.counts.stretched -= stood_for
            self._stretching = 0
            if missing > stood_for:
                self._lose(self._last + 1)
                self._clock_us += self.frame_us
                return OpusFrame(self._clock_us - self.frame_us, None)
        frame = self._play(first, now_us + ahead_us)
        # Not if it waits for its time, while more is made up.
        self.inserted = 0 if frame is None or frame.data is None else inserted
        return frame

    def expect(self, ahead_us: int) -> None:
        """Soon ``pop`` will be called so long before a frame is heard."""
        self._target.handle_reach(ahead_us)

    def handle_stretch(self, added_us: int) -> None:
        """What was popped has become longer by so much, or shorter: that is enough of it until the next ``pop``."""
        self._delay_us += added_us
        self.wish_us = 0
        if added_us > 0:
            self.counts.lengthened_us += added_us
        elif added_us < 0:
            self.counts.shortened_us -= added_us
        if added_us:
            self._astray_us = None

    @property
    def astray_us(self) -> int:
        """By how much the delay of what plays is longer than the target, or shorter."""
        target_us = self._target.target_us
        return round(self._delay_us - target_us) if self._running and target_us is not None else 0

    @property
    def next_waits(self) -> bool:
        """The frame that comes next is there, and is sound."""
        return self._is_sound(self._next)

    @property
    def following(self) -> bytes | None:
        """After a lost frame: the data of the one that follows it; None: it is not there, it is a silence mark, or none was lost."""
        return self._waiting[self._next].data if self.next_waits and not self._stretching else None

    @property
    def _next(self) -> int:
        return 0 if self._last is None else self._last + 1

    def _start(self, now_us: int) -> bool:
        """Begin, or begin again after a gap, as soon as the oldest frame of use is due."""
        if not self._waiting or self.target_us is None:
            return False
        first = min(self._waiting)
        latest_us = now_us - self.target_us - self.frame_us
        while self._waiting[first].capture_us < latest_us and len(self._waiting) > 1:
            if self._last is not None:
                self._lose(first - 1)
            self._skip(first)
            first = min(self._waiting)
        capture_us = self._waiting[first].capture_us
        if now_us - capture_us < self.target_us - RAISE_US:
            return False
        if self._last is not None and not self._is_mark(first):
            self.counts.lost += first - self._last - 1
        self._begin(first, now_us)
        return True

    def _begin(self, first: int, now_us: int) -> None:
        self._last = first - 1
        self._running = True
        self._resting_us = None
        self._clock_us = self._waiting[first].capture_us
        self._delay_us = float(now_us - self._clock_us)
        self._stretching = 0
        self._astray_us = None

    def _rest(self, now_us: int) -> OpusFrame | None:
        """Silence, until what comes next is due, but no more than is played at once. Sound that was late may come after a mark."""
        assert self.target_us is not None
        assert self._resting_us is not None
        self.silence_us = PLAY_US
        while self._waiting:
            first = min(self._waiting)
            early_us = self._waiting[first].capture_us + self.target_us - now_us
            if early_us > DUE_WITHIN_US:
                self.silence_us = min(PLAY_US, early_us)
                break
            if not self._is_mark(first):
                self.silence_us = 0
                self._begin(first, now_us)
                return self._play(first, now_us)
            self._resting_us = now_us
            self.skipped.append(self._waiting.pop(first))
            self.counts.played += 1
            self._pass(first)
        if now_us - self._resting_us > SILENCE_MAX_US:
            self._running = False
            self.silence_us = 0
            return None
        self.counts.silent_us += self.silence_us
        self._delay_us = float(self.target_us)
        self._clock_us = now_us - self.target_us
        return OpusFrame(self._clock_us, None)

    def _play(self, sequence_number: int, now_us: int) -> OpusFrame | None:
        target_us = self._target.target_us
        assert target_us is not None
        frame = self._waiting[sequence_number]
        delay_us = now_us - frame.capture_us
        if self._stretching or abs(frame.capture_us - self._clock_us) > CAPTURE_JUMP_US:
            # After a break there is nothing to average, and no harm in waiting until the frame is due.
            self._delay_us = float(delay_us)
            self._clock_us = frame.capture_us
            if delay_us < target_us - max(RAISE_US, self.frame_us // 2):
                return self._stretch()
        carried_us = (delay_us - self._delay_us) * DELAY_SMOOTHING
        self._delay_us += carried_us
        self.carried_us += carried_us
        astray_us = self._delay_us - target_us
        if astray_us > HURRY_US and self._is_sound(sequence_number + 1):
            self._skip(sequence_number)
            self._delay_us -= frame.duration_us
            astray_us -= frame.duration_us
            sequence_number += 1
            frame = self._waiting[sequence_number]
        if -RAISE_US <= astray_us <= LOWER_US:
            self._astray_us = None
        else:
            self._wish(now_us, astray_us)
        del self._waiting[sequence_number]
        self._pass(sequence_number)
        self.counts.played += 1
        self._clock_us = frame.capture_us + frame.duration_us
        self._stretching = 0
        return frame

    def _wish(self, now_us: int, astray_us: float) -> None:
        if self._astray_us is None:
            self._astray_us = now_us
        self.wish_us = -round(astray_us)
        self.impatient = now_us - self._astray_us >= PATIENCE_US

    def _stretch(self) -> OpusFrame | None:
        """A frame of made-up sound that stands for none of the sender's; after 200 ms of them the stream counts as silent."""
        self._stretching += 1
        if self._stretching > GAP_US // self.frame_us:
            self._running = False
            return None
        self.counts.stretched += 1
        self._delay_us += self.frame_us
        return OpusFrame(self._clock_us, None)

    def _is_mark(self, number: int) -> bool:
        """Of a frame that waits."""
        return is_silence_mark(self._waiting[number].data or b"")

    def _is_sound(self, number: int) -> bool:
        """It waits, and is no mark."""
        return number in self._waiting and not self._is_mark(number)

    # --- what becomes of a frame -------------------------------------------------------------------------------------

    def _skip(self, sequence_number: int) -> None:
        self.skipped.append(self._waiting.pop(sequence_number))
        self.counts.skipped += 1
        self._pass(sequence_number)

    def _lose(self, up_to: int) -> None:
        assert self._last is not None
        self.counts.lost += up_to - self._last
        self._last = up_to

    def _pass(self, sequence_number: int) -> None:
        self._last = sequence_number
        self._recent.append(sequence_number)
