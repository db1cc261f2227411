"""What answers a request was never sent before; what is not known any more is not answered."""

import pytest

from tests.pictures import picture, picture_of_rows
from udpconf.limits import MS, SECOND
from udpconf.proto.crypto import Direction, NullPacketKey, SessionKeys
from udpconf.proto.erasure_code import SHARDS_PER_BLOCK_MAX
from udpconf.proto.sender_totals import SenderTotals
from udpconf.proto.session import Session
from udpconf.proto.video_sender import FRAMES_KEPT, VideoSender
from udpconf.wire.envelope import HEADER_BYTES, TAG_BYTES, Channel
from udpconf.wire.frames import (
    ANSWERS_REPAIR,
    Feedback,
    Repair,
    Train,
    VideoShard,
    decode_frames_untrusted,
    shard_payload_bytes,
)

RTT_US = 50 * MS
CEILING_KBPS = 8000
LONG_US = 200 * MS


class Sending:
    """A sender of which every datagram is looked at."""

    def __init__(self, *, recovery: bool = True) -> None:
        self.totals = SenderTotals()
        self.sender = VideoSender(CEILING_KBPS, self.totals, recovery=recovery)
        self.now_us = 0
        null = {(way, channel): NullPacketKey() for way in Direction for channel in Channel}
        self.session = Session(SessionKeys(dict(null)), Direction.CLIENT_TO_SERVER, 1, 0)
        self.takes(RTT_US)

    def takes(self, rtt_us: int) -> None:
        """The path, from now on."""
        for _ in range(30):  # until nothing of it varies
            self.session.round_trip.handle_pong(self.now_us, self.now_us, self.now_us, self.now_us + rtt_us)

    def loses(self, share: float) -> None:
        """The server says so."""
        self.totals.handle_feedback(
            self.now_us, Feedback(0, 0, 0, 0, 0, 0, 0, 30 * MS, 0, 0, 0, 0), self.session
        )
        lost = int(10_000 * share)
        self.now_us += 200 * MS
        self.totals.handle_feedback(
            self.now_us,
            Feedback(10_000 - lost, lost, int(lost * (1 - share)), 0, 0, 0, 0, 30 * MS, 0, 0, 0, 0),
            self.session,
        )

    def arrives_at(self, bps: int) -> None:
        """Ten packets leave, and come one by one."""
        number = self.session.main_next
        self.frame(100 + number, rows=10)
        last_us = self.now_us + 9 * 1150 * 8 * SECOND // bps
        gap_us = (last_us - self.now_us) // 9
        train = Train(number, self.now_us, number + 9, last_us, gap_us, 10, number + 9)
        self.sender.path.handle_train(self.now_us, train)

    def frame(self, frame_id: int, *, rows: int = 0) -> list[VideoShard]:
        encoded = picture_of_rows(frame_id, self.now_us, rows) if rows else picture(frame_id, self.now_us)
        self.sender.send(self.now_us, frame_id, encoded, shard_payload_bytes(1200), self.session)
        return self.sent()

    def ask(
        self, frame_id: int, missing: int, *, block: int = 0, time_left_us: int = LONG_US
    ) -> list[VideoShard]:
        self.sender.handle_repair(self.now_us, Repair(frame_id, block, missing, time_left_us), self.session)
        return self.sent()

    def sent(self) -> list[VideoShard]:
        shards: list[VideoShard] = []
        while not self.sender.idle:
            self.now_us += 5 * MS
            for datagram in self.sender.poll(self.now_us, self.session):
                (shard,) = decode_frames_untrusted(datagram[HEADER_BYTES:-TAG_BYTES])
                assert isinstance(shard, VideoShard)
                shards.append(shard)
        return shards


def test_an_answer_is_shards_that_were_not_sent_before() -> None:
    sending = Sending()
    sending.loses(0.05)
    first = sending.frame(7)
    assert len(first) > first[0].data_shards  # it went with parity
    seen = {shard.shard_index for shard in first}
    for _ in range(3):
        answer = sending.ask(7, 2)
        assert len(answer) >= 2
        assert all(shard.interval_count == ANSWERS_REPAIR and shard.answers_repair for shard in answer)
        indexes = {shard.shard_index for shard in answer}
        assert not indexes & seen
        seen |= indexes
    assert not any(shard.answers_repair for shard in first)


def test_an_answer_that_has_no_second_chance_is_longer() -> None:
    sending = Sending()
    sending.loses(0.1)
    sending.frame(1)
    sending.frame(2)
    assert len(sending.ask(1, 2, time_left_us=RTT_US)) > len(sending.ask(2, 2, time_left_us=LONG_US))


def test_where_nothing_is_lost_an_answer_is_no_longer_than_asked_for() -> None:
    sending = Sending()
    data = sending.frame(1)
    assert len(data) == data[0].data_shards
    assert len(sending.ask(1, 3)) == 3


def test_a_frame_of_which_nothing_came_is_answered_whole() -> None:
    sending = Sending()
    data = sending.frame(1)
    assert len(sending.ask(1, 255)) == len(data)


def test_what_the_code_has_is_sent_once_and_then_no_more() -> None:
    sending = Sending()
    data = sending.frame(1)
    seen = {shard.shard_index for shard in data}
    for _ in range(SHARDS_PER_BLOCK_MAX):
        for shard in sending.ask(1, 1):
            assert shard.shard_index not in seen
            seen.add(shard.shard_index)
    assert seen == set(range(SHARDS_PER_BLOCK_MAX))
    assert not sending.ask(1, 1)


def test_too_few_shards_to_help_are_not_sent() -> None:
    sending = Sending()
    data = sending.frame(1, rows=100)
    assert len(sending.ask(1, 100)) == len(data) == 100
    assert not sending.ask(1, 60)  # 55 are left
    assert len(sending.ask(1, 50)) == 50


@pytest.mark.parametrize(("frame_id", "block"), [(2, 0), (1, 1), (1, 255)])
def test_what_was_never_sent_is_not_answered(frame_id: int, block: int) -> None:
    sending = Sending()
    sending.frame(1)
    assert not sending.ask(frame_id, 1, block=block)


def test_only_the_last_frames_are_kept_and_none_of_an_ended_session() -> None:
    sending = Sending()
    for frame_id in range(FRAMES_KEPT + 1):
        sending.frame(frame_id)
    assert not sending.ask(0, 1)
    assert sending.ask(1, 1)
    sending.sender.clear()
    assert not sending.ask(FRAMES_KEPT, 1)


def test_each_block_of_a_large_frame_is_repaired_by_itself() -> None:
    sending = Sending()
    data = sending.frame(1, rows=200)
    assert data[0].blocks == 2
    answer = sending.ask(1, 2, block=1)
    assert [shard.block for shard in answer] == [1, 1]


def test_a_queue_that_overflows_gets_no_more_than_the_pictures() -> None:
    sending = Sending()
    sending.loses(0.1)
    assert len(sending.frame(1)) > sending.frame(2)[0].data_shards
    for _ in range(4):
        sending.arrives_at(500_000)
    data = sending.frame(3)
    assert len(data) == data[0].data_shards
    assert not sending.ask(3, 2)
    sending.now_us += SECOND  # and it has drained
    assert sending.ask(3, 2)


def test_with_recovery_off_nothing_is_spent_and_nothing_answered() -> None:
    sending = Sending(recovery=False)
    sending.loses(0.2)
    data = sending.frame(1)
    assert len(data) == data[0].data_shards
    assert not sending.ask(1, 2)


def test_room_under_the_ceiling_is_kept_for_repair_as_well() -> None:
    sending = Sending()
    sending.frame(1)
    assert sending.totals.parity_share == 0
    sending.ask(1, 4)
    sending.frame(2)
    assert sending.totals.parity_share > 0


def test_an_answer_does_not_break_the_ceiling() -> None:
    sending = Sending()
    sent_bytes = 0
    for frame_id in range(20):  # in one second, as much as the ceiling is
        for shard in sending.frame(frame_id, rows=46):
            sent_bytes += len(shard.payload)
    assert sent_bytes * 8 / 1000 < CEILING_KBPS
    assert len(sending.ask(19, 40)) < 40
    sending.now_us += SECOND
    assert len(sending.ask(18, 40)) == 40


@pytest.mark.parametrize(("loss", "rows", "small"), [(0.0, 10, False), (0.05, 10, True), (0.05, 40, False)])
def test_only_a_picture_of_few_datagrams_is_cut_smaller_and_only_where_much_is_lost(
    loss: float, rows: int, small: bool
) -> None:
    sending = Sending()
    if loss:
        sending.loses(loss)
    sending.frame(1, rows=rows)
    assert sending.sender.small_datagrams is small


def test_each_kind_is_counted_to_the_byte_and_only_what_leaves() -> None:
    sending = Sending()
    sending.loses(0.05)
    shards = sending.frame(1, rows=200)  # of two blocks
    assert len(shards) > 200
    answer = sending.ask(1, 3)
    counts = sending.totals.counts
    assert (counts.frames_sent, counts.data_shards_sent) == (1, 200)
    assert (counts.parity_shards_sent, counts.repair_shards_sent) == (len(shards) - 200, len(answer))
    assert sum(sending.totals._by_kind()) == sending.session.counters.bytes_sent
    for frame_id in range(2, 20):  # more than the pacer takes
        encoded = picture_of_rows(frame_id, sending.now_us, 270)
        sending.sender.send(sending.now_us, frame_id, encoded, shard_payload_bytes(1200), sending.session)
    dropped = sending.sender.frames_dropped
    assert dropped
    sending.sent()
    assert counts.frames_sent == 19 - dropped
    assert counts.data_shards_sent == 200 + 270 * (18 - dropped)
    assert sum(sending.totals._by_kind()) == sending.session.counters.bytes_sent


def test_pictures_are_cut_small_only_as_long_as_they_get_parity() -> None:
    sending = Sending()
    sending.loses(0.05)
    sending.frame(1, rows=10)
    assert sending.sender.small_datagrams
    for _ in range(4):
        sending.arrives_at(500_000)  # a queue
    sending.frame(2, rows=10)
    assert not sending.sender.small_datagrams
    sending.now_us += SECOND  # and it has drained
    sending.frame(3, rows=10)
    assert sending.sender.small_datagrams  # what was lost before it stood still counts
