"""Frames leave in order: whole ones at once, those with holes at their deadline."""

import pytest

from tests.pictures import picture
from udpconf.frames import ReceivedFrame
from udpconf.limits import FRAME_MAX_BYTES, MS, OPEN_FRAMES_MAX, SECOND, STREAM_REASSEMBLY_MAX_BYTES
from udpconf.proto.erasure_code import ErasureCode
from udpconf.proto.jitter_buffer import LOSSLESS_AFTER_US, OPEN_FRAMES_MIN, STALL_US, JitterBuffer
from udpconf.proto.packetizer import packetize
from udpconf.proto.playout import MARGIN_US
from udpconf.proto.reassembly import SHARD_OBJECT_BYTES, OpenFrame, ReassemblyBudget, ShardFate, StreamBudget
from udpconf.wire.frames import VideoShard

FRAME_US = 33_333
ONE_WAY_US = 20 * MS


def shards_of(frame_id: int) -> list[VideoShard]:
    return packetize(picture(frame_id, frame_id * FRAME_US), frame_id)


def feed(buffer: JitterBuffer, frame_id: int, *, lost: tuple[int, ...] = (), at_us: int | None = None) -> int:
    now_us = frame_id * FRAME_US + ONE_WAY_US if at_us is None else at_us
    for shard in shards_of(frame_id):
        if shard.shard_index not in lost:
            buffer.handle_shard(now_us, shard, frame_id * FRAME_US)
    return now_us


def drain(buffer: JitterBuffer) -> list[ReceivedFrame]:
    frames = []
    while (frame := buffer.poll_frame()) is not None:
        frames.append(frame)
    return frames


def warm(buffer: JitterBuffer, count: int = 30) -> None:
    for frame_id in range(count):
        feed(buffer, frame_id)
    assert len(drain(buffer)) == count


@pytest.fixture
def buffer() -> JitterBuffer:
    return JitterBuffer(ReassemblyBudget(), None)


def test_a_whole_frame_is_due_with_its_last_datagram(buffer: JitterBuffer) -> None:
    feed(buffer, 0)
    (frame,) = drain(buffer)
    assert frame.encoded.complete
    assert frame.received_us == ONE_WAY_US
    assert buffer.poll_timeout() is None


def test_a_frame_with_a_hole_waits_for_its_deadline_and_no_longer(buffer: JitterBuffer) -> None:
    warm(buffer)
    feed(buffer, 30, lost=(3,))
    assert drain(buffer) == []
    deadline_us = 30 * FRAME_US + ONE_WAY_US + MARGIN_US
    assert buffer.poll_timeout() == deadline_us
    buffer.handle_timeout(deadline_us - 1)
    assert drain(buffer) == []
    buffer.handle_timeout(deadline_us)
    (frame,) = drain(buffer)
    assert not frame.encoded.complete
    assert buffer.counters.frames_with_holes == 1


def due_us_after(buffer: JitterBuffer, quiet_us: int) -> int:
    """So long after the last gap a frame's end stays away; from its deadline on, when is it shown?"""
    buffer.handle_gap(0)
    last = 1 + quiet_us // FRAME_US
    for frame_id in range(last):
        feed(buffer, frame_id)
    buffer.handle_timeout(last * FRAME_US + ONE_WAY_US - 1)
    drain(buffer)
    feed(buffer, last, lost=(len(shards_of(last)) - 1,))
    at_us = buffer.poll_timeout()
    assert at_us is not None
    return at_us - (last * FRAME_US + ONE_WAY_US + MARGIN_US)


def test_where_nothing_is_lost_a_late_end_is_waited_for(buffer: JitterBuffer) -> None:
    assert due_us_after(buffer, LOSSLESS_AFTER_US) == STALL_US


def test_soon_after_a_loss_it_is_not(buffer: JitterBuffer) -> None:
    assert due_us_after(buffer, LOSSLESS_AFTER_US - SECOND) == 0


def test_nor_when_a_later_packet_proves_it_lost(buffer: JitterBuffer) -> None:
    due_us_after(buffer, LOSSLESS_AFTER_US)
    at_us = buffer.poll_timeout()
    assert at_us is not None
    buffer.handle_gap(at_us - 1)
    assert buffer.poll_timeout() == at_us - STALL_US


def test_nor_with_a_latency_asked_for() -> None:
    buffer = JitterBuffer(ReassemblyBudget(), 40 * MS)
    assert due_us_after(buffer, LOSSLESS_AFTER_US) == 40 * MS - ONE_WAY_US - MARGIN_US


def test_a_newer_whole_frame_lets_the_older_one_go_first(buffer: JitterBuffer) -> None:
    warm(buffer)
    feed(buffer, 30, lost=(0,))
    feed(buffer, 31, at_us=30 * FRAME_US + ONE_WAY_US + 1)
    assert drain(buffer) == []
    buffer.handle_timeout(30 * FRAME_US + ONE_WAY_US + MARGIN_US)
    assert [frame.frame_id for frame in drain(buffer)] == [30, 31]


def test_the_missing_datagram_completes_the_frame_at_once(buffer: JitterBuffer) -> None:
    warm(buffer)
    feed(buffer, 30, lost=(2,))
    buffer.handle_shard(30 * FRAME_US + ONE_WAY_US + 1000, shards_of(30)[2], 30 * FRAME_US)
    (frame,) = drain(buffer)
    assert frame.encoded.complete
    assert [s.first_interval for s in frame.encoded.segments] == sorted(
        s.first_interval for s in frame.encoded.segments
    )


def test_late_and_repeated_datagrams_are_counted_and_change_nothing(buffer: JitterBuffer) -> None:
    warm(buffer, 3)
    assert buffer.handle_shard(5 * FRAME_US, shards_of(1)[0], FRAME_US) is ShardFate.LATE
    first = shards_of(3)[0]
    assert buffer.handle_shard(3 * FRAME_US + ONE_WAY_US, first, 3 * FRAME_US) is ShardFate.USED
    assert buffer.handle_shard(3 * FRAME_US + ONE_WAY_US, first, 3 * FRAME_US) is ShardFate.DUPLICATE
    assert drain(buffer) == []


def test_a_shard_that_contradicts_its_frame_is_refused_and_costs_nothing(buffer: JitterBuffer) -> None:
    warm(buffer, 3)
    shards = shards_of(3)
    now_us = 3 * FRAME_US + ONE_WAY_US
    buffer.handle_shard(now_us, shards[0], 3 * FRAME_US)
    liar = shards[1]._replace(description=shards[1].description._replace(width=320))
    assert buffer.handle_shard(now_us, liar, 3 * FRAME_US) is ShardFate.REFUSED
    other = shards[0]._replace(payload=b"something else")
    assert buffer.handle_shard(now_us, other, 3 * FRAME_US) is ShardFate.REFUSED
    larger = shards[1]._replace(data_shards=shards[1].data_shards + 1)
    assert buffer.handle_shard(now_us, larger, 3 * FRAME_US) is ShardFate.REFUSED
    more_blocks = shards[1]._replace(block=1, blocks=2)
    assert buffer.handle_shard(now_us, more_blocks, 3 * FRAME_US) is ShardFate.REFUSED
    for shard in shards[1:]:
        assert buffer.handle_shard(now_us, shard, 3 * FRAME_US) is ShardFate.USED
    assert drain(buffer)[0].encoded.complete


def test_intervals_claimed_twice_never_reach_the_decoder(buffer: JitterBuffer) -> None:
    shards = shards_of(0)
    overlapping = shards[1]._replace(first_interval=shards[1].first_interval - 1)
    for shard in (shards[0], overlapping, *shards[2:]):
        buffer.handle_shard(ONE_WAY_US, shard, 0)
    buffer.handle_timeout(1_000_000)
    (frame,) = drain(buffer)
    covered = [
        interval
        for segment in frame.encoded.segments
        for interval in range(segment.first_interval, segment.first_interval + segment.interval_count)
    ]
    assert len(covered) == len(set(covered))


def test_a_frame_that_never_showed_a_datagram_counts_as_skipped(buffer: JitterBuffer) -> None:
    warm(buffer, 3)
    feed(buffer, 5)
    drain(buffer)
    assert buffer.counters.frames_skipped == 2


def test_a_path_that_slows_down_costs_one_frame_then_the_deadline_has_learnt(buffer: JitterBuffer) -> None:
    warm(buffer, 100)
    for frame_id in range(100, 120):
        sent_us = frame_id * FRAME_US
        for place, shard in enumerate(shards_of(frame_id)):
            at_us = sent_us + ONE_WAY_US + 60 * MS + place * MS
            while (timer := buffer.poll_timeout()) is not None and timer < at_us:
                buffer.handle_timeout(timer)
            buffer.handle_shard(at_us, shard, sent_us)
    frames = drain(buffer)
    assert sum(not frame.encoded.complete for frame in frames) <= 2


def test_open_frames_are_bounded(buffer: JitterBuffer) -> None:
    for frame_id in range(200):
        buffer.handle_shard(1000, shards_of(frame_id)[0], 0)
        assert len(buffer._open) <= OPEN_FRAMES_MIN
    patient = JitterBuffer(ReassemblyBudget(), 10_000_000)
    for frame_id in range(200):
        patient.handle_shard(1000, shards_of(frame_id)[0], 0)
    assert len(patient._open) == OPEN_FRAMES_MAX


@pytest.mark.parametrize("frame_rate", [30, 60, 90, 120])
def test_a_fast_camera_too_is_shown_at_the_latency_asked_for(frame_rate: int) -> None:
    buffer = JitterBuffer(ReassemblyBudget(), 500 * MS)
    released_us = []
    for number in range(2 * frame_rate):
        captured_us = number * SECOND // frame_rate
        while (timer := buffer.poll_timeout()) is not None and timer <= captured_us + ONE_WAY_US:
            buffer.handle_timeout(timer)
            released_us.append(timer)
        for shard in packetize(picture(number, captured_us), number):
            buffer.handle_shard(captured_us + ONE_WAY_US, shard, captured_us)
    assert len(released_us) > frame_rate
    assert released_us == [number * SECOND // frame_rate + 500 * MS for number in range(len(released_us))]


def test_a_datagram_older_than_all_open_frames_takes_no_room_of_theirs_for_long(buffer: JitterBuffer) -> None:
    for frame_id in range(10, 10 + OPEN_FRAMES_MIN):
        buffer.handle_shard(1000, shards_of(frame_id)[0], 0)
    assert buffer.handle_shard(1000, shards_of(3)[0], 0) is ShardFate.LATE
    buffer.close()
    assert buffer._budget._server.used_bytes == 0


def test_lip_sync_holds_frames_and_lets_go_again(buffer: JitterBuffer) -> None:
    buffer.set_hold(60 * MS)
    feed(buffer, 0)
    assert drain(buffer) == []
    assert buffer.poll_timeout() == 60 * MS
    buffer.handle_timeout(60 * MS)
    assert len(drain(buffer)) == 1
    buffer.set_hold(0)
    feed(buffer, 3)
    assert len(drain(buffer)) == 1


@pytest.mark.parametrize(("over", "granted"), [(-1, True), (0, True), (1, False)])
def test_the_budget_counts_bytes_of_stream_and_server(over: int, granted: bool) -> None:
    stream = StreamBudget(ReassemblyBudget())
    assert stream.take(STREAM_REASSEMBLY_MAX_BYTES + over) is granted
    server = ReassemblyBudget(1000)
    one, two = StreamBudget(server), StreamBudget(server)
    assert one.take(600)
    assert two.take(400 + over) is granted
    one.close()
    assert server.used_bytes == (400 + over if granted else 0)


@pytest.mark.parametrize("whose", ["stream", "server"])
def test_when_the_budget_is_full_the_oldest_frames_go_early_and_nothing_is_refused(whose: str) -> None:
    frame_bytes = sum(len(shard.payload) + SHARD_OBJECT_BYTES for shard in shards_of(0))
    server = ReassemblyBudget(5 * frame_bytes if whose == "server" else 1 << 30)
    buffer = JitterBuffer(server, 300 * MS)  # nine of them
    if whose == "stream":
        buffer._budget = StreamBudget(server, 5 * frame_bytes)
    for frame_id in range(30):
        now_us = frame_id * FRAME_US + ONE_WAY_US
        while (timer := buffer.poll_timeout()) is not None and timer < now_us:
            buffer.handle_timeout(timer)
        feed(buffer, frame_id)
    frames = drain(buffer)
    assert [frame.frame_id for frame in frames] == list(range(len(frames)))
    assert len(frames) >= 25
    assert all(frame.encoded.complete for frame in frames)
    assert buffer.counters.shards_refused == 0
    buffer.close()
    assert server.used_bytes == 0


def test_a_frame_that_fills_the_budget_alone_is_not_given_up_for_its_rest() -> None:
    shards = shards_of(0)
    room = sum(len(shard.payload) + SHARD_OBJECT_BYTES for shard in shards[:-1])
    buffer = JitterBuffer(ReassemblyBudget(room), None)
    fates = [buffer.handle_shard(ONE_WAY_US, shard, 0) for shard in shards]
    assert fates == [ShardFate.USED] * (len(shards) - 1) + [ShardFate.REFUSED]
    assert not buffer.idle


def test_what_others_hold_of_the_server_s_budget_is_not_asked_back() -> None:
    server = ReassemblyBudget(1000)
    assert StreamBudget(server).take(1000)
    buffer = JitterBuffer(server, None)
    assert feed(buffer, 0)
    assert buffer.idle
    assert buffer.counters.shards_refused == buffer.counters.shards_received


def test_a_shard_of_another_stream_is_refused_and_mixed_up_with_nothing(buffer: JitterBuffer) -> None:
    for shard in shards_of(0):
        other = shard._replace(stream=1)
        assert buffer.handle_shard(ONE_WAY_US, other, 0) is ShardFate.REFUSED
    assert buffer.idle
    feed(buffer, 0)
    assert len(drain(buffer)) == 1
    assert buffer.counters.shards_refused == len(shards_of(0))


def test_shards_of_one_byte_are_counted_with_the_memory_that_they_take() -> None:
    server = ReassemblyBudget(10 * (1 + SHARD_OBJECT_BYTES))
    first = shards_of(0)[0]._replace(data_shards=20, interval_count=1, payload=b"1")
    frame, budget = OpenFrame(ErasureCode(), first, 0, 0), StreamBudget(server)
    fates = [frame.add(first._replace(shard_index=n, first_interval=n), 0, budget) for n in range(20)]
    assert fates == [ShardFate.USED] * 10 + [ShardFate.REFUSED] * 10


def test_everything_taken_from_the_budget_is_given_back() -> None:
    server = ReassemblyBudget()
    buffer = JitterBuffer(server, None)
    for frame_id in range(10):
        feed(buffer, frame_id, lost=(frame_id % 3,))
    buffer.close()
    assert server.used_bytes == 0
    assert FRAME_MAX_BYTES < STREAM_REASSEMBLY_MAX_BYTES
