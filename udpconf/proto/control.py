"""Control frames, numbered, acknowledged, resent and delivered in order: a small reliable channel inside a session.

Resent at smoothed_rtt + 4 rttvar (RFC 6298's timeout), doubled at each repeat up to a second.
"""

from collections import deque
from collections.abc import Iterator

from udpconf.limits import CONTROL_QUEUE_MAX, MS, SECOND
from udpconf.wire.frames import Control

RESEND_MAX_US = 1 * SECOND
# Below this a resend would only race the acknowledgement through a busy scheduler.
RESEND_MIN_US = 20 * MS
# Frames that arrive early wait here; a peer that leaves larger gaps is not ours.
EARLY_MAX = CONTROL_QUEUE_MAX


class ControlSender:
    """Keeps each frame until it is acknowledged."""

    def __init__(self) -> None:
        self._next_number = 0
        self._unacknowledged: deque[Control] = deque()
        self._resend_at_us: int | None = None
        self._repeats = 0
        self.resent = 0

    @property
    def idle(self) -> bool:
        return not self._unacknowledged

    def send(self, now_us: int, kind: int, body: bytes, timeout_us: int) -> Control:
        """Number a frame and start its timer; the caller transmits what is returned."""
        control = Control(self._next_number, kind, body)
        self._next_number += 1
        self._unacknowledged.append(control)
        if len(self._unacknowledged) > CONTROL_QUEUE_MAX:
            self._unacknowledged.popleft()  # the liveness timer is about to end this session anyway
        if self._resend_at_us is None:
            self._repeats = 0
            self._resend_at_us = now_us + max(RESEND_MIN_US, timeout_us)
        return control

    def handle_ack(self, now_us: int, next_number: int, timeout_us: int) -> None:
        if next_number > self._next_number:
            return  # acknowledges what was never sent
        before = len(self._unacknowledged)
        while self._unacknowledged and self._unacknowledged[0].number < next_number:
            self._unacknowledged.popleft()
        if len(self._unacknowledged) != before:
            self._repeats = 0
            self._resend_at_us = now_us + max(RESEND_MIN_US, timeout_us) if self._unacknowledged else None

    def poll_timeout(self) -> int | None:
        return self._resend_at_us

    def handle_timeout(self, now_us: int, timeout_us: int) -> Iterator[Control]:
        """Yield what is to be sent again."""
        if self._resend_at_us is None or now_us < self._resend_at_us:
            return
        self._repeats += 1
        wait_us = max(RESEND_MIN_US, timeout_us) << min(self._repeats, 10)
        self._resend_at_us = now_us + min(wait_us, RESEND_MAX_US)
        self.resent += len(self._unacknowledged)
        yield from tuple(self._unacknowledged)


class ControlReceiver:
    """Puts control frames back in order and drops repeats."""

    def __init__(self) -> None:
        self.next_number = 0
        self._early: dict[int, Control] = {}

    def handle(self, control: Control) -> Iterator[Control]:
        """Yield the frames that are now in order. The caller acknowledges ``next_number`` after every call."""
        if self.next_number <= control.number < self.next_number + EARLY_MAX:
            self._early[control.number] = control
        while (ready := self._early.pop(self.next_number, None)) is not None:
            self.next_number += 1
            yield ready
