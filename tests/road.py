"""A path with a bottleneck, and what both ends measure on it: for tests of the rate, without endpoints."""

from collections.abc import Callable

from udpconf.limits import MS, SECOND
from udpconf.proto.pacer import Pacer
from udpconf.proto.path_rate import PathRate
from udpconf.proto.train_watch import TrainWatch
from udpconf.wire.frames import Train

PACKET_BYTES = 1200
FRAME_US = SECOND // 30
FEEDBACK_US = 200 * MS
CEILING_KBPS = 8000
START_US = 1000 * SECOND
# The two ends' clocks have nothing to do with each other, and the server's low 32 bits wrap during the test.
SERVER_CLOCK_US = (1 << 32) - 3 * SECOND


class Road:
    """A path with a rate, a delay and a queue, and both ends of what is measured on it; pictures leave as the pacer lets them."""

    def __init__(
        self,
        bps: float,
        *,
        delay_us: int = 20 * MS,
        queue_us: int = 300 * MS,
        ceiling_kbps: int = CEILING_KBPS,
    ) -> None:
        self.bps, self.delay_us, self.queue_us = bps, delay_us, queue_us
        self.jitter: Callable[[], int] = lambda: 0
        self.keep_order = True
        self.loss: Callable[[], bool] = lambda: False
        self.policer_bps: float | None = None
        self.bucket_bytes = self.filled_bytes = 20_000.0
        self.filled_us = 0
        self.answers = 0  # packets that repair something, after each picture
        self.path = PathRate(ceiling_kbps)
        self.pacer = Pacer(ceiling_kbps)
        self.watch = TrainWatch()
        self.now_us = self.fed_back_us = START_US
        self.free_us = self.arrived_us = self.now_us
        self.number = self.frame_id = self.received = 0
        self.highest = -1
        self.came: list[tuple[int, int, int | None]] = []  # when, number, frame
        self.told: list[tuple[int, Train]] = []

    def frames(self, seconds: float, want_bps: float = 20e6, fps: int = 30) -> list[int]:
        """As many pictures as fit into the time, each as large as is wanted and allowed; their packets."""
        packets = []
        for _ in range(round(seconds * fps)):
            allowed = min(want_bps, self.path.target_bps(self.now_us))
            room = int(allowed / fps / 8 / PACKET_BYTES) - self.answers
            packets.append(max(room, 1 if allowed else 0))
            if packets[-1]:
                self.send(packets[-1])
            self._pass(SECOND // fps)
        return packets

    def send(self, packets: int) -> None:
        """A picture, now or as soon as the pacer lets it."""
        self.frame_id += 1
        self.pacer.push(self.frame_id, [bytes(PACKET_BYTES)] * packets)
        self._leave()
        self.pacer.push_first([bytes(PACKET_BYTES)] * self.answers)

    def queue_left_us(self) -> float:
        return max(0, self.free_us - self.now_us)

    def _leave(self) -> None:
        self.pacer.set_path_rate(self.path.carries_bps)
        due = self.pacer.poll(self.now_us)
        if not due:
            return
        frame_ids = [frame_id for frame_id, _ in due]
        self.path.handle_sent(self.now_us, self.number, frame_ids, len(due) * PACKET_BYTES)
        for frame_id in frame_ids:
            number, self.number = self.number, self.number + 1
            start_us = max(self.free_us, self.now_us)
            if self.loss() or start_us - self.now_us > self.queue_us or not self._is_let_through():
                continue
            self.free_us = start_us + int(PACKET_BYTES * 8 * SECOND / self.bps)
            at_us = self.free_us + self.delay_us + self.jitter()
            self.arrived_us = max(self.arrived_us, at_us)
            self.came.append((self.arrived_us if self.keep_order else at_us, number, frame_id))
        self.came.sort(key=lambda packet: packet[:2])

    def _is_let_through(self) -> bool:
        if self.policer_bps is None:
            return True
        earned_bytes = (self.now_us - self.filled_us) * self.policer_bps / 8 / SECOND
        self.filled_bytes = min(self.bucket_bytes, self.filled_bytes + earned_bytes)
        self.filled_us = self.now_us
        if self.filled_bytes < PACKET_BYTES:
            return False
        self.filled_bytes -= PACKET_BYTES
        return True

    def _pass(self, us: int) -> None:
        """Time goes on; what waits leaves, the server sees what comes, and says so."""
        end_us = self.now_us + us
        while self.now_us < end_us:
            due_us = self.pacer.poll_timeout()
            self.now_us = end_us if due_us is None else min(max(due_us, self.now_us + 1), end_us)
            self._arrive()
            self._leave()

    def _arrive(self) -> None:
        while self.came and self.came[0][0] <= self.now_us:
            at_us, number, frame_id = self.came.pop(0)
            self.received += 1
            self.highest = max(self.highest, number)
            if frame_id is None:
                continue
            self.watch.handle_packet(at_us - START_US + SERVER_CLOCK_US, self.highest, frame_id)
            self._tell(at_us, self.watch.take_urgent())
        if self.now_us - self.fed_back_us >= FEEDBACK_US:
            self.fed_back_us = self.now_us
            self._tell(self.now_us, self.watch.take())
            self.path.handle_totals(self.now_us, self.received, self.highest + 1 - self.received)
        while self.told and self.told[0][0] <= self.now_us:
            self.path.handle_train(*self.told.pop(0))

    def _tell(self, at_us: int, train: Train | None) -> None:
        if train is not None:
            self.told.append((at_us + self.delay_us, Train(*(value & 0xFFFFFFFF for value in train))))
