"""How much faster or slower sound is to be played so that the delay keeps to its target: what the clocks differ by.

The loudspeaker's clock and the microphone's differ by some 10 to 200 millionths, for good. A controller with a memory
(PI) finds the difference out once and plays with it from then on: the delay rests. One without (scrcpy's: on at 4 ms,
off at 1 ms, corrected over 4 s) swings for ever, by 3 ms, three times a minute. tools/drift.py plays both for a day.

As long as the delay keeps within 2 ms of its target by itself, or it is not the clocks that carry it away, the ratio is exactly 1:
two programs on one computer never need a resampler, which takes three times as long as decoding. Clocks that differ by less than 17
millionths are left to what makes sound longer or shorter now and then (audio_jitter.py).
"""

from udpconf.limits import MS, SECOND

# Time is counted in blocks that play.
BLOCK_US = 10 * MS
# The delay has to be away from the target by this, on average, before anything is done for the first time. Half of
# scrcpy's threshold, as this is most of what the delay ever strays.
START_US = 2 * MS
# The delay is away from a target that has moved as well, until a place is found to make the sound longer or shorter. So the clocks
# have to have carried it there, by so much in the last minute or so, which 17 millionths do. Each second a sixtieth is forgotten.
CARRIED_US = 1 * MS
# Then less will do to begin: at 2 ms the buffer has the sound made longer, and so the delay hardly ever is 2 ms too short for long.
START_CARRIED_US = 1 * MS
CARRIED_FORGET_S = 60
# pop() is called up to 2 ms early or late: averaged over 1 s that is 0.1 ms.
SMOOTHING = BLOCK_US / SECOND
# What is away is made good in 14 s, and what would remain for ever is learned in twice that (critically damped: the
# one is the square of half the other). A difference of 200 ppm that is not known yet lets the delay stray by
# 200e-6 * 27 s / e = 2 ms. Faster, noise in the calls would be heard as a wobble; slower, it would stray further.
LEARNING_S = 27
PROPORTIONAL_PER_S = 2 / LEARNING_S
INTEGRAL_PER_S2 = 1 / LEARNING_S**2
# Further away than this nothing is learned: the target has moved, the clocks have not.
LEARN_WITHIN_US = 6 * MS
# Two sound cards within 100 ppm each differ by 200; some are worse.
LEARNED_MAX = 500e-6
# Half a percent of pitch is a twelfth of a semitone: no ear notices it coming and going.
CHANGE_MAX = 0.005


class DriftControl:
    """One stream's. What it has learned outlasts pauses: clocks stay what they are.

    Attributes:
        ratio: samples out for each sample in, for media.resampler; within half a percent of 1.
    """

    def __init__(self) -> None:
        self.ratio = 1.0
        self._running = False
        self._astray_us = 0.0  # smoothed
        self._carried_us = self._carried_before_us = 0.0
        self._learned = 0.0  # seconds by which the delay would grow in one second

    @property
    def learned_ppm(self) -> float:
        """By how many millionths the sender's clock is thought to run faster than the player's."""
        return self._learned * 1e6

    def update(self, astray_us: float, carried_us: float | None = None) -> float:
        """Take by how much the delay is longer (positive) or shorter than its target, and give the ratio.

        To be called once for every 10 ms that play, made-up sound left out; no need to smooth what it is given.

        Args:
            astray_us: more than the target by so much, microseconds.
            carried_us: so much longer has the delay become by itself since the beginning; None: whatever it is away from the target.
        """
        self._astray_us += (astray_us - self._astray_us) * SMOOTHING
        if not self._running:
            if carried_us is not None:
                self._carried_us *= 1 - BLOCK_US / (CARRIED_FORGET_S * SECOND)
                self._carried_us += carried_us - self._carried_before_us
                self._carried_before_us = carried_us
                if self._carried_us * (1 if self._astray_us > 0 else -1) < CARRIED_US:
                    return self.ratio
            if abs(self._astray_us) < (START_US if carried_us is None else START_CARRIED_US):
                return self.ratio
            self._running = True
        astray_s = self._astray_us / SECOND
        if abs(self._astray_us) <= LEARN_WITHIN_US:
            learned = self._learned + INTEGRAL_PER_S2 * astray_s * BLOCK_US / SECOND
            self._learned = min(max(learned, -LEARNED_MAX), LEARNED_MAX)
        change = PROPORTIONAL_PER_S * astray_s + self._learned
        # Too long a delay is made good by playing faster: fewer samples out.
        self.ratio = 1 - min(max(change, -CHANGE_MAX), CHANGE_MAX)
        return self.ratio
