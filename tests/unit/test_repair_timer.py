"""A request goes out when nothing more comes by itself, again when its answer stays away, and never too late."""

from itertools import pairwise

import pytest

from tests.pictures import picture
from udpconf.limits import MS, SECOND
from udpconf.proto.erasure_code import ErasureCode
from udpconf.proto.jitter_buffer import JitterBuffer
from udpconf.proto.packetizer import packetize
from udpconf.proto.parity import parity_shards
from udpconf.proto.reassembly import ReassemblyBudget
from udpconf.proto.repair_timer import (
    ALL_SHARDS,
    ASKED_MAX,
    GAPS_WINDOW_US,
    PARITY_KNOWN_FRAMES,
    SETTLE_MAX_US,
    SETTLE_MIN_US,
    UNSEEN_MAX,
)
from udpconf.proto.rtt import RoundTrip
from udpconf.wire.frames import ANSWERS_REPAIR, Repair, VideoShard

LATENCY_US = 150 * MS
RTT_US = 40 * MS


def shards_of(frame_id: int) -> list[VideoShard]:
    return packetize(picture(frame_id, 0), frame_id)


def answer_to(data: list[VideoShard], count: int) -> list[VideoShard]:
    k = len(data)
    return [
        shard._replace(interval_count=ANSWERS_REPAIR)
        for shard in parity_shards(ErasureCode(), data, range(k, k + count))
    ]


class Receiving:
    """A jitter buffer whose time passes timer by timer."""

    def __init__(self, *, latency_us: int | None = LATENCY_US, rtt_us: int | None = RTT_US) -> None:
        self.round_trip = RoundTrip()
        if rtt_us is not None:
            for _ in range(20):  # until nothing of it varies
                self.round_trip.handle_pong(0, rtt_us // 2, rtt_us // 2, rtt_us)
        self.buffer = JitterBuffer(ReassemblyBudget(), latency_us, self.round_trip)
        self.now_us = 0
        self.asked: list[tuple[int, Repair]] = []
        self._next_id = 0

    def next_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def take(self, shards: list[VideoShard], capture_us: int = 0, *, apart_us: int = 0) -> None:
        for shard in shards:
            self.buffer.handle_shard(self.now_us, shard, capture_us)
            self.wait(apart_us)

    def wait(self, for_us: int) -> None:
        until_us = self.now_us + for_us
        while (at_us := self.buffer.poll_timeout()) is not None and at_us <= until_us:
            self.now_us = max(self.now_us, at_us)
            self.buffer.handle_timeout(self.now_us)
            self.asked += [(self.now_us, repair) for repair in self.buffer.take_repairs()]
        self.now_us = until_us


def test_what_is_missing_is_asked_for_soon_after_the_last_arrival() -> None:
    receiving = Receiving()
    data = shards_of(3)
    receiving.take(data[2:])
    receiving.wait(SETTLE_MIN_US)
    assert receiving.asked == [(SETTLE_MIN_US, Repair(3, 0, 2, LATENCY_US - SETTLE_MIN_US))]
    assert receiving.buffer.counters.repairs_asked == 1


def test_a_whole_frame_asks_for_nothing() -> None:
    receiving = Receiving()
    receiving.take(shards_of(0))
    receiving.wait(LATENCY_US)
    assert not receiving.asked


def test_the_answer_makes_the_frame_whole_and_ends_the_asking() -> None:
    receiving = Receiving()
    data = shards_of(0)
    receiving.take(data[2:])
    receiving.wait(RTT_US)
    receiving.take(answer_to(data, 2))
    receiving.wait(LATENCY_US)
    assert len(receiving.asked) == 1
    counters = receiving.buffer.counters
    assert (counters.frames_whole, counters.shards_repaired, counters.shards_recovered) == (1, 2, 2)
    assert (counters.frames_by_repair, counters.frames_by_parity) == (1, 0)


def test_an_answer_that_falls_short_is_followed_by_a_request_for_the_rest() -> None:
    receiving = Receiving()
    data = shards_of(0)
    receiving.take(data[3:])
    receiving.wait(RTT_US)
    receiving.take(answer_to(data, 2))
    receiving.wait(2 * SETTLE_MIN_US)
    assert [repair.missing for _, repair in receiving.asked] == [3, 1]


def test_an_answer_that_stays_away_is_asked_for_again_until_it_would_come_too_late() -> None:
    receiving = Receiving()
    receiving.take(shards_of(0)[1:])
    receiving.wait(LATENCY_US)
    times_us = [at_us for at_us, _ in receiving.asked]
    assert len(times_us) >= 2
    assert all(later - earlier >= RTT_US for earlier, later in pairwise(times_us))
    assert times_us[-1] + RTT_US <= LATENCY_US
    assert receiving.buffer.counters.frames_with_holes == 1


def test_nothing_is_asked_for_when_the_answer_would_come_too_late() -> None:
    for receiving in (Receiving(latency_us=None), Receiving(rtt_us=LATENCY_US), Receiving(rtt_us=None)):
        receiving.take(shards_of(0)[1:])
        receiving.wait(LATENCY_US)
        assert not receiving.asked


def test_on_a_path_that_spreads_datagrams_nothing_is_asked_for_between_them() -> None:
    receiving = Receiving()
    for frame_id in range(4):
        if frame_id == 1:
            receiving.asked.clear()  # what was asked for before the path was known
        receiving.take(shards_of(frame_id), receiving.now_us, apart_us=4 * MS)
    assert not receiving.asked
    receiving.take(shards_of(4)[:-1], receiving.now_us, apart_us=4 * MS)
    receiving.wait(3 * MS)
    assert [repair.missing for _, repair in receiving.asked] == [1]


def test_a_frame_of_which_nothing_came_is_asked_for_when_the_next_one_comes() -> None:
    receiving = Receiving()
    receiving.take(shards_of(0))
    receiving.take(shards_of(2))
    receiving.wait(SETTLE_MIN_US)
    assert [repair for _, repair in receiving.asked] == [Repair(1, 0, ALL_SHARDS, LATENCY_US - SETTLE_MIN_US)]
    data = shards_of(1)
    receiving.take(answer_to(data, len(data)))
    receiving.wait(LATENCY_US)
    assert receiving.buffer.counters.frames_whole == 3
    assert len(receiving.asked) == 1


def test_a_frame_that_nobody_sent_is_not_asked_for() -> None:
    receiving = Receiving()
    receiving.buffer.handle_gap(0)  # something was lost, before
    receiving.wait(MS)
    receiving.take(shards_of(0))
    receiving.wait(33 * MS)
    receiving.take(shards_of(2), 33 * MS)
    receiving.wait(33 * MS)
    assert not receiving.asked
    receiving.buffer.handle_gap(receiving.now_us)  # as the packets of frame 3
    receiving.take(shards_of(4), 66 * MS)
    receiving.wait(SETTLE_MIN_US)
    assert [repair.frame_id for _, repair in receiving.asked] == [3]


def test_a_gap_that_an_answer_showed_is_as_good_as_any() -> None:
    receiving = Receiving()
    data = shards_of(0)
    receiving.take(data[1:])
    receiving.wait(20 * MS)
    receiving.buffer.handle_gap(receiving.now_us)  # the packets of frame 1 are before it
    receiving.take(answer_to(data, 2)[:1])
    receiving.wait(10 * MS)
    receiving.asked.clear()
    receiving.take(shards_of(2), 33 * MS)
    receiving.wait(SETTLE_MIN_US)
    assert [repair.frame_id for _, repair in receiving.asked] == [1]


def test_after_an_outage_only_the_last_frames_are_asked_for() -> None:
    receiving = Receiving()
    receiving.take(shards_of(0))
    receiving.take(shards_of(1000))
    receiving.wait(SETTLE_MIN_US)
    assert [repair.frame_id for _, repair in receiving.asked] == list(range(1000 - UNSEEN_MAX, 1000))


def test_repairs_do_not_make_the_path_look_slow() -> None:
    receiving = Receiving()
    for frame_id in range(30):
        capture_us, data = receiving.now_us, shards_of(frame_id)
        receiving.take(data[1:], capture_us)
        receiving.wait(RTT_US)
        receiving.take(answer_to(data, 1), capture_us)
        receiving.wait(RTT_US)
    assert receiving.buffer.playout.target_us < RTT_US / 2


def test_a_frame_is_not_asked_for_without_end() -> None:
    receiving = Receiving(latency_us=5000 * MS, rtt_us=1 * MS)
    receiving.take(shards_of(0))
    receiving.take(shards_of(2)[1:])
    receiving.wait(5000 * MS)
    asked = [repair.frame_id for _, repair in receiving.asked]
    assert (asked.count(1), asked.count(2)) == (ASKED_MAX // 2, ASKED_MAX)


def test_a_skipped_frame_is_due_before_the_one_that_told_of_it() -> None:
    receiving = Receiving()
    receiving.take(shards_of(0), 0)
    receiving.now_us = 90 * MS
    receiving.take(shards_of(3), 90 * MS)
    receiving.wait(SETTLE_MIN_US)
    # Captured at 30 and 60 ms by the looks of it; what is left of 150 ms.
    left = [(repair.frame_id, repair.time_left_us) for _, repair in receiving.asked]
    assert left == [(1, 90 * MS - SETTLE_MIN_US), (2, 120 * MS - SETTLE_MIN_US)]


# --- frames that only lose by waiting ---


def warmed(**settings: int | None) -> Receiving:
    """Past the time in which nothing is known of the path; its datagrams come 1 ms apart."""
    receiving = Receiving(**settings)
    while receiving.now_us < GAPS_WINDOW_US + SECOND:
        receiving.take(shards_of(receiving.next_id()), receiving.now_us, apart_us=MS)
        receiving.wait(20 * MS)
    return receiving


def test_holes_that_nothing_can_fill_in_time_are_shown_when_the_datagrams_have_stopped_coming() -> None:
    receiving = warmed(latency_us=None)
    captured_us = receiving.now_us
    receiving.take(shards_of(receiving.next_id())[:-1], captured_us, apart_us=MS)
    receiving.wait(SETTLE_MIN_US)
    assert receiving.buffer.counters.frames_with_holes == 1
    assert receiving.now_us < captured_us + receiving.buffer.playout.target_us


def test_holes_that_even_the_rest_of_the_frame_could_not_fill_are_shown_without_that_wait() -> None:
    def quiet(*, last: bool) -> int:
        """How long after all but one have come, the last one or another, the frame is shown; in tenths of a millisecond."""
        receiving = warmed(latency_us=None)
        for pause_us in (8 * MS, *[0] * 60):  # a path that paused within a frame, two seconds ago
            data = shards_of(receiving.next_id())
            captured_us = receiving.now_us
            receiving.take(data[:1], captured_us, apart_us=pause_us)
            receiving.take(data[1:], captured_us)
            receiving.wait(33 * MS)
        data = shards_of(receiving.next_id())
        arrived_us, before = receiving.now_us, receiving.buffer.counters.frames_with_holes
        receiving.take(data[:-1] if last else data[:2] + data[3:], arrived_us)
        for tenth in range(1000):
            if receiving.buffer.counters.frames_with_holes > before:
                return tenth
            receiving.wait(MS // 10)
        raise AssertionError("never shown")

    assert quiet(last=False) < quiet(last=True)


def test_at_first_they_wait_for_their_deadline() -> None:
    receiving = Receiving(latency_us=None)
    for _ in range(3):
        receiving.take(shards_of(receiving.next_id()), receiving.now_us, apart_us=MS)
        receiving.wait(20 * MS)
    due_us = receiving.now_us + receiving.buffer.playout.target_us
    receiving.take(shards_of(receiving.next_id())[:-1], receiving.now_us, apart_us=MS)
    receiving.wait(due_us - receiving.now_us - 1)
    assert receiving.buffer.counters.frames_with_holes == 0
    receiving.wait(1)
    assert receiving.buffer.counters.frames_with_holes == 1


def test_with_a_latency_asked_for_they_are_shown_no_earlier_than_whole_ones() -> None:
    receiving = warmed(latency_us=30 * MS, rtt_us=40 * MS)
    due_us = receiving.now_us + 30 * MS
    receiving.take(shards_of(receiving.next_id())[:-1], receiving.now_us, apart_us=MS)
    receiving.wait(due_us - receiving.now_us - 1)
    assert receiving.buffer.counters.frames_with_holes == 0
    receiving.wait(1)
    assert receiving.buffer.counters.frames_with_holes == 1


def test_whoever_comes_after_that_is_waited_for_from_then_on() -> None:
    receiving = warmed(latency_us=None)
    for _ in range(3):
        captured_us, data = receiving.now_us, shards_of(receiving.next_id())
        receiving.take(data[:-1], captured_us)
        receiving.wait(10 * MS)
        receiving.take(data[-1:], captured_us)
        receiving.wait(20 * MS)
    assert receiving.buffer.counters.frames_with_holes == 1


# --- what is remembered of gaps and parity ---


def settle_us(receiving: Receiving) -> int:
    return receiving.buffer._repair_timer.settle_us


def made_of_answers(receiving: Receiving, count: int) -> tuple[list[VideoShard], int]:
    """A frame of which so many shards came, in answer; its data, and when it was captured."""
    frame_id, captured_us = receiving.next_id(), receiving.now_us
    data = shards_of(frame_id)
    receiving.wait(33 * MS)
    receiving.take(shards_of(receiving.next_id()), receiving.now_us)
    receiving.wait(5 * MS)
    receiving.take(answer_to(data, len(data))[:count], captured_us)
    return data, captured_us


def test_a_straggler_of_a_frame_that_was_made_of_answers_tells_of_no_gap() -> None:
    receiving = warmed(latency_us=60 * MS, rtt_us=20 * MS)
    before_us = settle_us(receiving)
    data, captured_us = made_of_answers(receiving, 5)
    receiving.wait(33 * MS)
    assert receiving.buffer.counters.frames_with_holes == 1
    assert receiving.buffer._released_id == data[0].frame_id
    receiving.take(data[:1], captured_us)
    assert settle_us(receiving) <= before_us


def test_an_answer_of_many_shards_does_not_make_the_gaps_forgotten() -> None:
    receiving = warmed()
    for _ in range(30):  # a second of the same
        receiving.take(shards_of(receiving.next_id()), receiving.now_us, apart_us=10 * MS)
    before_us = settle_us(receiving)
    data, _ = made_of_answers(receiving, len(shards_of(receiving._next_id)))
    assert receiving.buffer.counters.shards_repaired == len(data)
    assert settle_us(receiving) >= 0.75 * before_us


@pytest.mark.parametrize("frame_rate", [5, 30, 100])
def test_a_pause_within_a_frame_is_forgotten_in_seconds_however_fast_the_camera(frame_rate: int) -> None:
    receiving = warmed()
    paused = shards_of(receiving.next_id())
    receiving.take(paused[:1], receiving.now_us, apart_us=LATENCY_US - 10 * MS)
    receiving.take(paused[1:], receiving.now_us)
    assert settle_us(receiving) == SETTLE_MAX_US
    began_us, settled_us = receiving.now_us, [settle_us(receiving)]
    while settled_us[-1] > 2 * SETTLE_MIN_US:
        receiving.take(shards_of(receiving.next_id()), receiving.now_us)
        receiving.wait(SECOND // frame_rate)
        settled_us.append(settle_us(receiving))
    assert 2 * SECOND <= receiving.now_us - began_us <= 4 * SECOND
    assert max(earlier - later for earlier, later in pairwise(settled_us)) <= SETTLE_MAX_US * 3 // 8


def test_parity_that_is_not_sent_any_more_is_not_waited_for() -> None:
    def waits(*, frames_since: int) -> bool:
        """For the rest of a frame, beyond the moment at which it would be asked for."""
        receiving = warmed(latency_us=None)
        parity_at = 60  # two seconds after the path paused within a frame
        for number in range(parity_at + 1 + frames_since):
            data = shards_of(receiving.next_id())
            captured_us = receiving.now_us
            receiving.take(data[:1], captured_us, apart_us=0 if number else 8 * MS)
            receiving.take(data[1:], captured_us)
            if number == parity_at:
                receiving.take(parity_shards(ErasureCode(), data, range(len(data), len(data) + 4)))
            receiving.wait(33 * MS)
        began_us, data = receiving.now_us, shards_of(receiving.next_id())
        receiving.take(data[:2] + data[3:], began_us)
        at_us = receiving.buffer.poll_timeout()
        assert at_us is not None
        receiving.wait(at_us - began_us)
        return not receiving.buffer.idle

    assert waits(frames_since=PARITY_KNOWN_FRAMES - 1)
    assert not waits(frames_since=PARITY_KNOWN_FRAMES)


def test_a_frame_that_was_asked_for_in_vain_is_shown_long_before_a_late_deadline() -> None:
    receiving = warmed(latency_us=None)
    for number in range(3):  # a stall: everything is two seconds late, and so the deadline of what follows
        receiving.take(shards_of(receiving.next_id()), receiving.now_us - 1500 * MS + number * MS)
    begun_us = receiving.now_us
    frame_id = receiving.next_id()
    receiving.take(shards_of(frame_id)[1:], begun_us, apart_us=MS)
    receiving.asked.clear()
    receiving.wait(400 * MS)
    assert [repair.frame_id for _, repair in receiving.asked] == [frame_id] * ASKED_MAX
    assert receiving.buffer.idle
    assert receiving.buffer.counters.frames_with_holes == 1
