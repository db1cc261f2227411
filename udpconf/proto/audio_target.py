"""How long after its capture sound is played: the delay and the share of frames that come later, the least bad together.

Of the last ten seconds it is known how old each frame was when the first packet that carries it came. A frame in a hundred that
is too late is worth 25 ms of delay; so where losses come in bursts, and their copies come 20 to 50 ms later, the least bad
delay is now to be had with most of the copies, now without, and the difference is small. Each change is heard, so the delay stays
unless another is better by what is worth it, or everything has come sooner of late: then the path has calmed.
"""

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

from udpconf.limits import AUDIO_BUFFER_US, MS, SECOND
from udpconf.proto.sound_redundancy import DELAY_OF_ALL_US

# Long enough for twenty bursts of five where a tenth is lost. In virtual time (20 ms, jitter of 30 ms, 10 % lost in bursts of five,
# calls of a minute) sound is moved by 1.4 ms in each second; with 5 s, and no care to stay, by 2.7.
WINDOW_US = 10 * SECOND
# A disturbance is forgotten that soon.
CALM_US = 5 * SECOND
# So often the target is looked at, in frames.
LOOK_FRAMES = 10
# What a change of the delay has to be worth.
STAY_US = 6 * MS
# In the end few are too late, and these by far; more than a tenth never are.
LATE_MAX_SHARE = 0.1
# Who plays takes so much at a time.
PLAY_US = 5 * MS
# A frame has to be there when it is popped, which is some pieces before it is heard: as many as it was lately, in one or two of
# these windows (a minute each).
REACH_WINDOW_POPS = 6000
# pop() is called from a thread, which is up to 2 ms late as a rule: what is popped in time is 1 ms younger than the mean. The rest
# is half of what the delay may be short of the target (audio_jitter.py): it rarely is.
MARGIN_US = 2 * MS
# Until so many frames' worth has been measured, the target is a guess.
START_US = 1 * SECOND
START_MARGIN_US = 10 * MS
# Delays do not jump so far; a sender's clock that is set does, and then nothing measured before is true.
CLOCK_JUMP_US = 1 * SECOND


class AudioTarget:
    """Of one stream.

    Attributes:
        target_us: the delay from capture to ``pop`` that is aimed at; None before the first frame.
        least_us: it is not lower, however calm the path.
    """

    def __init__(self) -> None:
        self.target_us: int | None = None
        self.least_us = 0
        # Capture to first arrival; WINDOW_US of them, the newest last.
        self._delays: NDArray[np.int64] = np.empty(0, np.int64)
        self._came: list[int] = []  # what has come since the target was last looked at
        self._newest_us: int | None = None
        self._measured = 0
        self._in_time_us: int | None = None  # so old frames may be
        self._reach_us = [PLAY_US, PLAY_US]  # the longest in the window before this one, and in this one
        self._reached = 0  # pops in this window

    def handle_arrival(self, delay_us: int, frame_us: int) -> None:
        """A frame of this length has come for the first time, so long after its capture."""
        newest_us, self._newest_us = self._newest_us, delay_us
        if newest_us is not None and abs(delay_us - newest_us) > CLOCK_JUMP_US:
            self._forget()
        self._came.append(delay_us)
        self._measured += 1
        # Every tenth is enough, unless this frame would have come too late. Until then nothing else is touched: with many
        # clients each has left the caches by the time its next frame comes.
        if self._measured % LOOK_FRAMES == 0 or self.target_us is None or delay_us > self.target_us:
            self._delays = np.concatenate((self._delays, self._came))[-(WINDOW_US // frame_us) :]
            self._came.clear()
            self.target_us = self._target(frame_us)

    def _forget(self) -> None:
        self._delays = self._delays[:0]
        self._came.clear()
        self._in_time_us = None

    def handle_pop(self, ahead_us: int) -> None:
        """A frame was needed, so long before it is heard."""
        self.handle_reach(ahead_us)
        self._reached += 1
        if self._reached == REACH_WINDOW_POPS:
            self._reach_us, self._reached = [self._reach_us[1], 0], 0

    def handle_reach(self, ahead_us: int) -> None:
        """Frames are needed so long before they are heard, or soon will be."""
        if ahead_us > self._reach_us[1]:
            self._reach_us[1] = -(-ahead_us // PLAY_US) * PLAY_US

    def _target(self, frame_us: int) -> int:
        ordered = np.sort(self._delays)
        least_us = int(ordered[0])
        self._in_time_us = min(self._least_bad_us(ordered), int(self._delays[-(CALM_US // frame_us) :].max()))
        margin_us = max(self._reach_us) + MARGIN_US
        waiting_us = max(self._in_time_us - least_us + margin_us, self.least_us - least_us)
        if self._measured * frame_us < START_US:
            waiting_us += START_MARGIN_US
        # Two frames of the bound are left for the frame that plays and the one that arrives.
        return least_us + min(waiting_us, AUDIO_BUFFER_US - 2 * frame_us)

    def _least_bad_us(self, ordered: NDArray[np.int64]) -> int:
        """How old frames may be that are waited for; ``ordered``: the delays, the shortest first."""
        worth_us = DELAY_OF_ALL_US // len(ordered)
        late_max = int(len(ordered) * LATE_MAX_SHARE)
        least_us: int = ordered[0].item()
        longest: list[int] = ordered[-1 - late_max :].tolist()
        in_time_us = cost_us = longest[-1]
        for later in range(1, late_max):
            delay_us = longest[-1 - later]
            if least_us + later * worth_us >= cost_us:
                break  # however soon the others come
            if delay_us + later * worth_us < cost_us:
                in_time_us, cost_us = delay_us, delay_us + later * worth_us
        if self._in_time_us is not None:
            stays_us = max(self._in_time_us, least_us)
            later = len(longest) - bisect_right(longest, stays_us)
            if later < max(1, late_max) and stays_us + later * worth_us - cost_us < STAY_US:
                in_time_us = stays_us
        return in_time_us
