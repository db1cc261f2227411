"""Whoever plays, without sound: pops what the next 5 ms need, and makes it longer or shorter by as much as is wished."""

from udpconf.frames import OpusFrame
from udpconf.limits import MS
from udpconf.proto.audio_jitter import AudioJitterBuffer
from udpconf.proto.audio_target import PLAY_US

# As media/time_stretch.py does it: of so much sound, all but the 5 ms in which one place goes over into the other may be left out.
CHANGE_US = (2_500, 15 * MS)
AT_HAND_US = 20 * MS
FADE_US = 5 * MS


class Player:
    """Of one buffer.

    Attributes:
        skipped: frames that were left out, of all calls.
    """

    def __init__(self, buffer: AudioJitterBuffer) -> None:
        self.buffer = buffer
        self.skipped: list[OpusFrame] = []
        self._ready_us = 0

    def play(self, now_us: int) -> list[tuple[int, OpusFrame | None]]:
        """The next 5 ms: what was popped for them, and when it is played."""
        popped: list[tuple[int, OpusFrame | None]] = []
        while self._ready_us < PLAY_US:
            if not self._pop(now_us, popped):
                self._ready_us = PLAY_US
                break
            wish_us = self.buffer.wish_us
            if wish_us < -CHANGE_US[0]:
                while self._ready_us < AT_HAND_US and self.buffer.next_waits:
                    self._pop(now_us, popped, early=True)
                most_us = min(-wish_us, CHANGE_US[1], self._ready_us - FADE_US)
                if most_us >= CHANGE_US[0]:
                    self._change(-most_us)
            elif wish_us > 0:
                self._change(max(CHANGE_US[0], min(wish_us, CHANGE_US[1])))
        self._ready_us -= PLAY_US
        return popped

    def _pop(self, now_us: int, popped: list[tuple[int, OpusFrame | None]], *, early: bool = False) -> bool:
        frame = self.buffer.pop(now_us, self._ready_us, early=early)
        self.skipped += self.buffer.skipped
        if self.buffer.silence_us:
            self._ready_us += self.buffer.silence_us
            return True
        popped.append((now_us + self._ready_us, frame))
        if frame is None:
            return False
        self._ready_us += self.buffer.frame_us if frame.data is None else frame.duration_us
        return True

    def _change(self, added_us: int) -> None:
        self._ready_us += added_us
        self.buffer.handle_stretch(added_us)
