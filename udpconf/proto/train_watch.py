"""How the packets of each picture come: what the sender needs to know of the path (proto/path_rate.py).

A picture leaves in one go, as a train of packets. A narrow path spreads it: the time between its first and its last packet
tells what the path carries, the delay of its first one what stands in the queue.
"""

from udpconf.limits import MS
from udpconf.wire.frames import Train

# A train that took longer met a narrow path, perhaps: told at once, and while it comes each time so much has passed. A shorter
# one is told with the next FEEDBACK.
SPREAD_US = 8 * MS
REPORT_INTERVAL_US = 20 * MS
# At once as well when packets are missing between two trains, so often.
MISSING_INTERVAL_US = 50 * MS


class TrainWatch:
    """Watches one stream's packets in the order in which they come."""

    def __init__(self) -> None:
        self._frame_id = -1
        self._first = self._last = (0, 0)  # of the train that comes at present: number, time
        self._longest_gap_us = self._packets = 0
        self.urgent: Train | None = None  # what the sender should know at once
        self._finished: Train | None = None  # the one before, as long as nobody was told
        self._reported_us = 0

    def handle_packet(self, now_us: int, number: int, frame_id: int) -> None:
        """A packet of a picture's first send came, data or parity; ``number`` is the highest of all that have come."""
        last_number, last_us = self._last
        if frame_id > self._frame_id:
            if self._frame_id >= 0:
                self._finish(now_us, number)
            self._frame_id = frame_id
            self._first = self._last = (number, now_us)
            self._longest_gap_us = 0
            self._packets = 1
        elif frame_id == self._frame_id and number > last_number:  # else others overtook it
            gap_us = now_us - last_us
            self._longest_gap_us = max(self._longest_gap_us, gap_us)
            self._last = (number, now_us)
            self._packets += 1
            since_us = now_us - REPORT_INTERVAL_US
            if since_us >= self._first[1] and since_us >= self._reported_us:
                self._report(now_us, number)

    def take_urgent(self) -> Train | None:
        """``urgent``, once."""
        urgent, self.urgent = self.urgent, None
        return urgent

    def take(self) -> Train | None:
        """The last train that is over, if the sender was not told of it; now and then."""
        finished, self._finished = self._finished, None
        return finished

    def _finish(self, now_us: int, next_number: int) -> None:
        spread = self._last[1] - self._first[1] >= SPREAD_US
        missing = next_number != self._last[0] + 1 and now_us - self._reported_us >= MISSING_INTERVAL_US
        if spread or missing:
            self._report(now_us, next_number)
        else:
            self._finished = self._now(next_number)

    def _report(self, now_us: int, next_number: int) -> None:
        self.urgent, self._finished = self._now(next_number), None
        self._reported_us = now_us

    def _now(self, next_number: int) -> Train:
        return Train(*self._first, *self._last, self._longest_gap_us, self._packets, next_number)
