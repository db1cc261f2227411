"""Frames leave in the order of their capture: whole ones at once, those with holes when nothing more can be hoped for.

The deadline is the one number that ends every wait (proto/playout.py). Nobody is ever held up by one lost datagram for
longer than that, and nothing freezes: at its deadline a frame leaves with what it has, and before it when its datagrams
have stopped coming and an answer to a request would come too late (proto/repair_timer.py). With a latency asked for, whole
frames wait as well, until that long after their capture; without one they leave as early as the path allows. On a path that
loses nothing what is missing is late, not lost, so there a frame waits beyond its deadline until a later packet proves it wrong.
"""

from collections import OrderedDict, deque
from itertools import islice

from udpconf.frames import ReceivedFrame
from udpconf.limits import MS, OPEN_FRAMES_MAX, SECOND
from udpconf.proto.erasure_code import ErasureCode
from udpconf.proto.playout import PlayoutDelay
from udpconf.proto.reassembly import SHARD_OBJECT_BYTES, OpenFrame, ReassemblyBudget, ShardFate, StreamBudget
from udpconf.proto.repair_timer import REQUESTS_AT_ONCE_MAX, UNSEEN_MAX, RepairTimer
from udpconf.proto.rtt import RoundTrip
from udpconf.proto.stats import VideoCounters
from udpconf.wire.frames import Repair, VideoShard

# The only one as yet; a frame of another would be mixed up with this one's of the same id.
STREAM = 0
# A frame waits so long after its first datagram even when the deadline has passed: the others are right behind it.
FIRST_DATAGRAM_GRACE_US = 2 * MS
# The same for a stream's first frames, when nothing is known of the path: on one that a call is fun on, a frame's datagrams
# come within this of each other.
FIRST_FRAME_GRACE_US = 30 * MS
# However short the delay, so many frames may be under way at once (limits.py has the most).
OPEN_FRAMES_MIN = 4
# Of 5 s at 30 frames/s.
AGES_KEPT = 150
# A path that has left no gap in the packets' numbers for so long loses nothing, and then a frame is given so much beyond its
# deadline: programs on a busy machine stand still for 5 to 15 ms now and then, and the deadline leaves out one in a hundred.
# More would show: where a queue grows it is the picture that stands still.
LOSSLESS_AFTER_US = 5 * SECOND
STALL_US = 15 * MS
FRAME_RATE_ASSUMED = 120  # frames/s, of the fastest webcams; the bound on open frames follows the delay


class JitterBuffer:
    """The frames of one stream between the first datagram and their release.

    Args:
        budget: of the whole server.
        latency_us: asked for, from capture to display; None: as early as the path allows.
        round_trip: to the sender. None: nothing is asked for again.
    """

    def __init__(
        self, budget: ReassemblyBudget, latency_us: int | None, round_trip: RoundTrip | None = None
    ) -> None:
        self.counters = VideoCounters()
        self.playout = PlayoutDelay()
        self._budget = StreamBudget(budget)
        self._code = ErasureCode()
        self._latency_us = latency_us
        # Lip sync may hold frames back, to be shown with the sound of their moment.
        self._hold_us = 0
        self._open: OrderedDict[int, OpenFrame] = OrderedDict()
        self.due: deque[ReceivedFrame] = deque()  # for poll_frame; drained after every input
        self._repair_timer = RepairTimer(round_trip or RoundTrip())
        self._repairs: list[Repair] = []  # taken after every input
        self._released_id: int | None = None
        self._gap_us: int | None = None  # when packets were last found missing; None: nobody watches
        self._newest = (-1, 0)  # the highest frame id of which anything came, and when it was captured
        self._newest_us = 0  # when something of its first send last came
        self._released_whole = False
        self._released_arrival_us = 0  # of what was sent unasked; 0: only answers came of it
        self._ages_us: deque[int] = deque(maxlen=AGES_KEPT)

    # --- inputs ---

    def set_latency(self, now_us: int, latency_us: int | None) -> None:
        """From now on, for the frames that are here as well."""
        self._latency_us = latency_us
        for frame in self._open.values():
            frame.deadline_us = max(frame.capture_us + self.target_us, now_us)

    def set_hold(self, hold_us: int) -> None:
        """Show nothing earlier than so long after its capture (lip sync)."""
        self._hold_us = hold_us

    def handle_gap(self, now_us: int) -> None:
        """A packet has come before others that were sent before it; or the session begins."""
        self._gap_us = now_us

    def handle_shard(self, now_us: int, shard: VideoShard, capture_us: int) -> ShardFate:
        """Take one shard in; ``capture_us`` is already on our clock."""
        counters = self.counters
        counters.shards_received += 1
        if shard.stream != STREAM:
            counters.shards_refused += 1
            return ShardFate.REFUSED
        frame_id = shard.frame_id
        is_parity = shard.shard_index >= shard.data_shards
        answers_repair = is_parity and shard.answers_repair
        if is_parity and not answers_repair:
            self._repair_timer.handle_parity(frame_id, shard.shard_index - shard.data_shards + 1)
        if frame_id == self._newest[0] and not answers_repair:
            self._newest_us = now_us
        if self._released_id is not None and frame_id <= self._released_id:
            if not answers_repair:
                self.playout.handle_arrival(now_us, frame_id, capture_us)
            if frame_id == self._released_id and self._released_whole:
                counters.shards_duplicate += 1  # parity that was not needed, mostly
                return ShardFate.DUPLICATE
            if frame_id == self._released_id and self._released_arrival_us and not answers_repair:
                self._repair_timer.handle_straggler(now_us, now_us - self._released_arrival_us)
            counters.shards_late += 1
            return ShardFate.LATE
        frame = self._open.get(frame_id)
        fresh = frame is None
        if frame is None:
            self._make_room(now_us)
            if self._released_id is not None and frame_id <= self._released_id:
                counters.shards_late += 1  # too old to be worth another's place
                return ShardFate.LATE
            frame = self._open_frame(now_us, shard, capture_us)
        before_us = frame.first_send_us
        fate = frame.add(shard, now_us, self._budget)
        while fate is ShardFate.REFUSED and self._make_bytes(now_us, frame, len(shard.payload)):
            fate = frame.add(shard, now_us, self._budget)
        if fate is ShardFate.USED:
            counters.shards_used += 1
            counters.bytes_received += len(shard.payload)
            if fresh:
                self._note_skipped(now_us, frame)
            if answers_repair:
                counters.shards_repaired += 1
                frame.was_repaired = True
            self._repair_timer.handle_shard(now_us, frame, before_us, answers_repair=answers_repair)
            if frame.complete:  # deadlines are the timer's business
                self._release(now_us)
        else:
            if fate is ShardFate.DUPLICATE:
                counters.shards_duplicate += 1
            else:
                counters.shards_refused += 1
            if fresh:
                del self._open[frame_id]
        return fate

    def handle_timeout(self, now_us: int) -> None:
        self._release(now_us)
        due = self._repair_timer.due(now_us, self._open.values())
        for repair in islice(due, REQUESTS_AT_ONCE_MAX):
            self._repairs.append(repair)
            self.counters.repairs_asked += 1
        self._release(now_us)  # what is settled

    def close(self) -> None:
        """Forget what is open; it counts as skipped."""
        self.counters.frames_skipped += len(self._open)
        self._open.clear()
        self._budget.close()

    # --- outputs ---

    def poll_frame(self) -> ReceivedFrame | None:
        """The next frame that is due. ``capture_wall_us`` is 0: the session knows the wall clock, we do not."""
        return self.due.popleft() if self.due else None

    def take_repairs(self) -> list[Repair]:
        """The requests to the sender since the last time, few enough for one packet."""
        repairs = self._repairs
        if repairs:
            self._repairs = []
        return repairs

    def poll_timeout(self) -> int | None:
        if not self._open:
            return None
        at_us = self._release_at_us(next(iter(self._open.values())))
        return self._repair_timer.poll_timeout(self._open.values(), at_us)

    @property
    def idle(self) -> bool:
        """Nothing waits to be shown."""
        return not self._open

    def frame_ages_ms(self) -> tuple[float | None, ...]:
        """Capture to release of the last frames: p50, p95, p99."""
        ages_us = sorted(self._ages_us)
        if not ages_us:
            return None, None, None
        return tuple(ages_us[int(share * len(ages_us))] / MS for share in (0.5, 0.95, 0.99))

    @property
    def target_us(self) -> int:
        """Capture to deadline of a frame that would come now."""
        return max(self._wait_us, self.playout.target_us)

    @property
    def repair_time_us(self) -> int:
        """How long before its deadline a typical frame is known to miss something."""
        return max(0, self.target_us - self.playout.typical_us - self._repair_timer.settle_us)

    # --- inside ---

    @property
    def _wait_us(self) -> int:
        return max(self._hold_us, self._latency_us or 0)

    def _release_at_us(self, frame: OpenFrame) -> int:
        if not frame.complete:
            gap_us = self._gap_us
            if (
                gap_us is not None
                and frame.deadline_us - gap_us >= LOSSLESS_AFTER_US
                and not self._latency_us
            ):
                return frame.deadline_us + STALL_US
            if frame.settled_at_us is None:
                return frame.deadline_us
            return min(frame.deadline_us, max(frame.settled_at_us, frame.capture_us + self._wait_us))
        # Without a wait the clocks do not matter, and an offset still being learnt delays nothing.
        return frame.capture_us + self._wait_us if self._wait_us else frame.last_arrival_us

    def _make_room(self, now_us: int) -> None:
        """More open frames than the delay holds: the oldest will not be saved by waiting."""
        bound = min(OPEN_FRAMES_MAX, max(0, self.target_us) * FRAME_RATE_ASSUMED // SECOND + OPEN_FRAMES_MIN)
        while len(self._open) >= bound:
            self._release_head(now_us)

    def _make_bytes(self, now_us: int, newer: OpenFrame, size: int) -> bool:
        """The budget is full: an older frame than this one goes, as it stands. False: it is not, or there is none."""
        if self._budget.has_room(size + SHARD_OBJECT_BYTES) or next(iter(self._open.values())) is newer:
            return False
        self._release_head(now_us)
        return True

    def _open_frame(self, now_us: int, shard: VideoShard, capture_us: int) -> OpenFrame:
        grace_us = FIRST_DATAGRAM_GRACE_US if self.playout.learnt else FIRST_FRAME_GRACE_US
        deadline_us = max(capture_us + self.target_us, now_us + grace_us)
        frame = OpenFrame(self._code, shard, capture_us, deadline_us)
        newest = next(reversed(self._open)) if self._open else None
        self._open[shard.frame_id] = frame
        if newest is not None and shard.frame_id < newest:
            self._open = OrderedDict(sorted(self._open.items()))  # reordering across frames is rare
        return frame

    def _note_skipped(self, now_us: int, frame: OpenFrame) -> None:
        """A frame has begun: those that should have come between it and the newest one may be lost whole."""
        self._repair_timer.handle_seen(frame.frame_id)
        before_id, before_capture_us = self._newest
        if frame.frame_id <= before_id:
            return
        # Without a gap in the packets' numbers since then nobody has sent them.
        lost = self._gap_us is None or self._gap_us >= self._newest_us
        self._newest, self._newest_us = (frame.frame_id, frame.capture_us), now_us
        apart = frame.frame_id - before_id
        if before_id >= 0 and apart > 1 and lost:
            interval_us = (frame.capture_us - before_capture_us) // apart
            missing = range(max(before_id + 1, frame.frame_id - UNSEEN_MAX), frame.frame_id)
            self._repair_timer.handle_skipped(
                now_us,
                {gone: frame.deadline_us - (frame.frame_id - gone) * interval_us for gone in missing},
            )

    def _release(self, now_us: int) -> None:
        while self._open:
            if now_us < self._release_at_us(next(iter(self._open.values()))):
                return
            self._release_head(now_us)

    def _release_head(self, now_us: int) -> None:
        frame_id, frame = self._open.popitem(last=False)
        counters = self.counters
        if self._released_id is not None:
            counters.frames_skipped += frame_id - self._released_id - 1
            for skipped_id in range(max(self._released_id + 1, frame_id - UNSEEN_MAX), frame_id):
                self._repair_timer.handle_seen(skipped_id)
        self._released_id = frame_id
        self._released_arrival_us = frame.first_send_us
        if frame.first_send_us:
            self.playout.handle_arrival(frame.first_send_us, frame_id, frame.capture_us)
        self._budget.give_back(frame.held_bytes)
        counters.shards_recovered += frame.shards_recovered
        encoded = frame.encoded()
        self._released_whole = whole = encoded.complete
        if whole:
            counters.frames_whole += 1
            if frame.was_repaired:
                counters.frames_by_repair += 1
            elif frame.shards_recovered:
                counters.frames_by_parity += 1
        else:
            counters.frames_with_holes += 1
        counters.fresh_area_sum += frame.fresh_share
        self._ages_us.append(now_us - frame.capture_us)
        self.due.append(
            ReceivedFrame(frame_id, encoded, 0, frame.last_arrival_us, min(now_us, frame.deadline_us)),
        )
