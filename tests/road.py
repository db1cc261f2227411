"""A path with a bottleneck, and what both ends measure on it: for tests of the rate, without endpoints."""

from collections.abc import Callable

from udpconf.limits import MS, SECOND
from udpconf.proto.path_rate import PathRate
from udpconf.proto.train_watch import TrainWatch
from udpconf.wire.frames import Train

PACKET_BYTES = 1200
FRAME_US = SECOND // 30
CEILING_KBPS = 8000
# The two ends' clocks have nothing to do with each other, and the server's low 32 bits wrap during the test.
SERVER_CLOCK_US = (1 << 32) - 3 * SECOND


class Road:
    """A path with a rate, a delay and a queue, and both ends of what is measured on it."""

    def __init__(self, bps: float, *, delay_us: int = 20 * MS, queue_us: int = 300 * MS) -> None:
        self.bps, self.delay_us, self.queue_us = bps, delay_us, queue_us
        self.jitter: Callable[[], int] = lambda: 0
        self.keep_order = True
        self.loss: Callable[[], bool] = lambda: False
        self.policer_bps: float | None = None
        self.bucket_bytes = 20_000.0
        self.filled_us = 0
        self.path = PathRate(CEILING_KBPS)
        self.watch = TrainWatch()
        self.now_us = 1000 * SECOND
        self.free_us = self.arrived_us = self.now_us
        self.number = self.frame_id = self.received = 0
        self.highest = -1
        self.came: list[tuple[int, int, int]] = []  # when, number, frame
        self.told: list[tuple[int, Train]] = []

    def frames(self, seconds: float, want_bps: float = 20e6) -> list[int]:
        """As many pictures as fit into the time, each as large as is wanted and allowed; their packets."""
        packets = []
        for _ in range(round(seconds * 30)):
            allowed = min(want_bps, self.path.target_bps(self.now_us))
            packets.append(max(int(allowed / 30 / 8 / PACKET_BYTES), 1 if allowed else 0))
            if packets[-1]:
                self._send(packets[-1])
            self._pass(FRAME_US)
        return packets

    def queue_left_us(self) -> float:
        return max(0, self.free_us - self.now_us)

    def _send(self, packets: int) -> None:
        self.path.handle_sent(self.now_us, self.number, packets, packets * PACKET_BYTES)
        for _ in range(packets):
            number, self.number = self.number, self.number + 1
            start_us = max(self.free_us, self.now_us)
            if self.loss() or start_us - self.now_us > self.queue_us or not self._is_let_through():
                continue
            self.free_us = start_us + int(PACKET_BYTES * 8 * SECOND / self.bps)
            at_us = self.free_us + self.delay_us + self.jitter()
            self.arrived_us = max(self.arrived_us, at_us)
            self.came.append((self.arrived_us if self.keep_order else at_us, number, self.frame_id))
        self.came.sort()
        self.frame_id += 1

    def _is_let_through(self) -> bool:
        if self.policer_bps is None:
            return True
        earned_bytes = (self.now_us - self.filled_us) * self.policer_bps / 8 / SECOND
        self.bucket_bytes = min(20_000.0, self.bucket_bytes + earned_bytes)
        self.filled_us = self.now_us
        if self.bucket_bytes < PACKET_BYTES:
            return False
        self.bucket_bytes -= PACKET_BYTES
        return True

    def _pass(self, us: int) -> None:
        """Time goes on; the server sees what comes, and says so."""
        self.now_us += us
        while self.came and self.came[0][0] <= self.now_us:
            at_us, number, frame_id = self.came.pop(0)
            self.received += 1
            self.highest = max(self.highest, number)
            clock_us = at_us - 1000 * SECOND + SERVER_CLOCK_US
            self.watch.handle_packet(clock_us, self.highest, frame_id)
            if (train := self.watch.take_urgent()) is not None:
                self.told.append((at_us + self.delay_us, Train(*(v & 0xFFFFFFFF for v in train))))
        if self.frame_id % 6 == 0:
            if (train := self.watch.take()) is not None:
                self.told.append((self.now_us + self.delay_us, Train(*(v & 0xFFFFFFFF for v in train))))
            self.path.handle_totals(self.now_us, self.received, self.highest + 1 - self.received)
        while self.told and self.told[0][0] <= self.now_us:
            self.path.handle_train(*self.told.pop(0))
