"""The deadline: least delay plus a quantile, up at once, down with the window."""

from udpconf.limits import MS, SECOND
from udpconf.proto.playout import MARGIN_US, PlayoutDelay

FRAME_US = 33_333


def feed(playout: PlayoutDelay, first: int, count: int, delay_us: int) -> None:
    for frame_id in range(first, first + count):
        capture_us = frame_id * FRAME_US
        playout.handle_arrival(capture_us + delay_us - 1000, frame_id, capture_us)
        playout.handle_arrival(capture_us + delay_us, frame_id, capture_us)


def test_before_the_first_frame_it_knows_nothing_and_says_so() -> None:
    assert not PlayoutDelay().learnt
    assert PlayoutDelay().target_us == 0


def test_on_a_steady_path_it_is_the_paths_delay_and_a_margin() -> None:
    playout = PlayoutDelay()
    feed(playout, 0, 200, 25 * MS)
    assert playout.target_us == 25 * MS + MARGIN_US
    assert playout.jitter_us == 0


def test_one_outlier_among_many_frames_does_not_move_it_but_a_few_do() -> None:
    playout = PlayoutDelay()
    feed(playout, 0, 110, 10 * MS)
    feed(playout, 110, 1, 80 * MS)
    assert playout.target_us == 10 * MS + MARGIN_US
    feed(playout, 111, 2, 80 * MS)
    assert playout.target_us == 80 * MS + MARGIN_US
    assert playout.jitter_us == 70 * MS


def test_a_late_datagram_of_a_frame_already_counted_raises_that_frames_sample() -> None:
    playout = PlayoutDelay()
    playout.handle_arrival(10 * MS, 0, 0)
    playout.handle_arrival(60 * MS, 0, 0)
    assert playout.target_us == 60 * MS + MARGIN_US


def test_it_comes_back_within_five_seconds_of_the_path_calming() -> None:
    playout = PlayoutDelay()
    feed(playout, 0, 150, 10 * MS)
    feed(playout, 150, 300, 110 * MS)
    feed(playout, 450, 5 * SECOND // FRAME_US, 10 * MS)
    assert playout.target_us == 10 * MS + MARGIN_US


def test_a_second_after_a_stall_it_is_forgotten() -> None:
    playout = PlayoutDelay()
    feed(playout, 0, 150, 10 * MS)
    for frame_id in range(150, 180):  # they come together when it ends
        playout.handle_arrival(180 * FRAME_US, frame_id, frame_id * FRAME_US)
    assert playout.target_us > 900 * MS
    feed(playout, 180, 29, 10 * MS)
    assert playout.target_us > 900 * MS
    feed(playout, 209, 3, 12 * MS)
    assert playout.target_us == 12 * MS + MARGIN_US


def test_what_still_comes_each_second_is_not_forgotten() -> None:
    playout = PlayoutDelay()
    for second in range(8):
        feed(playout, 30 * second, 25, 10 * MS)
        feed(playout, 30 * second + 25, 5, 90 * MS)
        assert playout.target_us == 90 * MS + MARGIN_US


def test_few_frames_a_second_do_not_tell_that_the_path_has_calmed() -> None:
    playout = PlayoutDelay()
    for frame_id in range(8):  # five a second
        capture_us = frame_id * SECOND // 5
        playout.handle_arrival(capture_us + (500 if frame_id < 2 else 10) * MS, frame_id, capture_us)
    assert playout.target_us == 500 * MS + MARGIN_US
