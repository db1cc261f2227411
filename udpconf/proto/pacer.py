"""Video datagrams leave at the pace that the path is thought to bear, not in one blow.

While nothing is known of the path, the rate is a multiple of the ceiling that the user set, fast enough that an ordinary frame
is out in one burst, slow enough that a 4K frame does not overflow the first switch. Once the path is known to be narrow, a
frame begins to leave a little faster than the path carries it: no later at the other end, in a shorter queue, and close enough
together to see the path grow (proto/path_rate.py). Bounded by bytes and by time; when full, the oldest frame that
has not begun goes, whole: half a frame helps nobody.
"""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from udpconf.limits import DATAGRAM_DEFAULT_BYTES, FRAME_MAX_BYTES, MS, SECOND

# A frame may use a tenth of its interval; and never less than what any wired or wireless LAN carries.
CEILING_MULTIPLE = 10
RATE_MIN_BPS = 60_000_000
# So much leaves back to back: a typical 640x360 frame, and what small kernel queues hold (chosen, not measured).
BURST_BYTES = 32 * DATAGRAM_DEFAULT_BYTES
# Of what the path carries; but a picture's packets beyond what it carries in so long leave hardly faster than that, or those of a
# picture a second would fill 300 ms of queue.
PATH_MULTIPLE = 1.5
AHEAD_US = 60 * MS
PATH_MULTIPLE_BEYOND = 1.05
# On a narrow path so much leaves back to back: fewer wake-ups than datagrams, and what any queue holds.
PATH_BURST_US = 5 * MS
PATH_BURST_MIN_BYTES = 3 * DATAGRAM_DEFAULT_BYTES
QUEUE_MAX_BYTES = 2 * FRAME_MAX_BYTES
# A frame that would wait longer for those before it to leave is late anyway.
QUEUE_MAX_US = 200 * MS


class Due(NamedTuple):
    """A datagram whose time has come."""

    frame_id: int | None  # it leaves with this picture; None: it repairs an earlier one
    plaintext: bytes


class Pacer:
    """A queue of frames, drained as a token bucket fills. Holds plaintexts; they are sealed when they leave."""

    def __init__(self, max_bitrate_kbps: int) -> None:
        self._rate_bps = self._widest_bps = float(
            max(RATE_MIN_BPS, max_bitrate_kbps * 1000 * CEILING_MULTIPLE)
        )
        self._ahead_bytes, self._beyond_bps = float("inf"), self._rate_bps
        self._frame_bytes = 0  # what has left of the head frame
        self._burst_bytes = float(BURST_BYTES)
        self._frames: deque[tuple[int, deque[bytes]]] = deque()
        self._first: deque[bytes] = deque()
        self._begun = False  # the head frame has sent something
        self._queued_bytes = 0
        self._credit_bytes = float(BURST_BYTES)
        self._credited_us: int | None = None
        self.frames_dropped = 0

    def set_path_rate(self, bps: float | None) -> None:
        """From now on: what the path carries; None: not known."""
        if bps is None or PATH_MULTIPLE * bps >= self._widest_bps:
            rate_bps = self._beyond_bps = self._widest_bps
            self._ahead_bytes = float("inf")
        else:
            rate_bps, self._beyond_bps = PATH_MULTIPLE * bps, PATH_MULTIPLE_BEYOND * bps
            self._ahead_bytes = bps / 8 * AHEAD_US / SECOND
        if rate_bps != self._rate_bps:
            self._rate_bps = rate_bps
            burst_bytes = max(PATH_BURST_MIN_BYTES, rate_bps / 8 * PATH_BURST_US / SECOND)
            self._burst_bytes = min(BURST_BYTES, burst_bytes)

    def push(self, frame_id: int, plaintexts: Iterable[bytes]) -> None:
        frame = deque(plaintexts)
        self._frames.append((frame_id, frame))
        self._queued_bytes += sum(map(len, frame))
        while self._is_full() and len(self._frames) > 1 + self._begun:
            victim = self._frames[1] if self._begun else self._frames[0]
            self._frames.remove(victim)
            self._queued_bytes -= sum(map(len, victim[1]))
            self.frames_dropped += 1

    def _is_full(self) -> bool:
        """Whoever is last would wait too long for the others, or all are too much to keep."""
        before_bytes = self._queued_bytes - sum(map(len, self._frames[-1][1]))
        wait_us = before_bytes * 8 * SECOND / self._rate_bps
        return self._queued_bytes > QUEUE_MAX_BYTES or wait_us > QUEUE_MAX_US

    def push_first(self, plaintexts: Iterable[bytes]) -> None:
        """Before all frames: what repairs a picture that is due sooner than any of them. Whoever calls bounds it."""
        self._first.extend(plaintexts)

    def clear(self) -> None:
        self._first.clear()
        self._frames.clear()
        self._begun = False
        self._queued_bytes = self._frame_bytes = 0

    @property
    def _pace_bps(self) -> float:
        return self._rate_bps if self._frame_bytes < self._ahead_bytes else self._beyond_bps

    @property
    def waiting_bytes(self) -> int:
        return self._queued_bytes + sum(map(len, self._first))

    @property
    def idle(self) -> bool:
        return not self._frames and not self._first

    def poll(self, now_us: int) -> list[Due]:
        """The datagrams whose time has come."""
        due: list[Due] = []
        if self.idle:
            return due
        credit_bytes = self._credit_bytes
        if self._credited_us is not None:
            earned = (now_us - self._credited_us) * self._pace_bps / (8 * SECOND)
            credit_bytes = min(self._burst_bytes, credit_bytes + earned)
        self._credited_us = now_us
        while self._first and credit_bytes > 0:
            credit_bytes -= len(self._first[0])
            due.append(Due(None, self._first.popleft()))
        while self._frames and credit_bytes > 0:
            frame_id, frame = self._frames[0]
            while frame and credit_bytes > 0:
                plaintext = frame.popleft()
                credit_bytes -= len(plaintext)
                self._frame_bytes += len(plaintext)
                self._queued_bytes -= len(plaintext)
                due.append(Due(frame_id, plaintext))
            self._begun = bool(frame)
            if not frame:
                self._frames.popleft()
                self._frame_bytes = 0
        self._credit_bytes = credit_bytes
        return due

    def poll_timeout(self) -> int | None:
        """When the next datagram may leave; half a burst at a time, to spare wake-ups."""
        if self.idle or self._credited_us is None:
            return None
        missing = max(1.0, self._burst_bytes / 2 - self._credit_bytes)
        return self._credited_us + int(missing * 8 * SECOND / self._pace_bps)
