"""Frames leave in bursts and then at the pace."""

from udpconf.limits import FRAME_MAX_BYTES, SECOND
from udpconf.proto.pacer import BURST_BYTES, RATE_MIN_BPS, Pacer

DATAGRAM = bytes(1200)


def drain(pacer: Pacer, now_us: int) -> int:
    return len(pacer.poll(now_us))


def test_an_ordinary_frame_leaves_at_once() -> None:
    pacer = Pacer(4000)
    pacer.push(0, [DATAGRAM] * 11)
    assert drain(pacer, 0) == 11
    assert pacer.poll_timeout() is None


def test_a_large_frame_leaves_at_the_pace_with_few_wake_ups() -> None:
    pacer = Pacer(4000)
    pacer.push(0, [DATAGRAM] * 1000)
    now_us, sent, turns = 0, 0, 0
    while sent < 1000:
        sent += drain(pacer, now_us)
        turns += 1
        now_us = pacer.poll_timeout() or now_us
    ideal_us = (1000 * len(DATAGRAM) - BURST_BYTES) * 8 * SECOND / RATE_MIN_BPS
    assert 0.95 * ideal_us <= now_us <= 1.05 * ideal_us
    assert turns <= 70


def test_a_higher_ceiling_makes_a_higher_pace() -> None:
    pacer = Pacer(100_000)
    pacer.push(0, [DATAGRAM] * 1000)
    drain(pacer, 0)
    assert drain(pacer, 8_000) == 32  # a whole burst again within 8 ms


def test_when_full_the_oldest_frame_that_has_not_begun_goes_whole() -> None:
    pacer = Pacer(4000)
    frames = [[bytes([number]) * 1200] * (FRAME_MAX_BYTES // 1200 * 3 // 4) for number in range(3)]
    pacer.push(0, frames[0])
    left = {due.plaintext[0] for due in pacer.poll(0)}
    assert left == {0}
    pacer.push(1, frames[1])
    pacer.push(2, frames[2])
    assert pacer.frames_dropped == 1
    while (at_us := pacer.poll_timeout()) is not None:
        left |= {due.plaintext[0] for due in pacer.poll(at_us)}
    assert left == {0, 2}


def test_nothing_is_owed_after_a_pause() -> None:
    pacer = Pacer(4000)
    pacer.push(0, [DATAGRAM])
    drain(pacer, 0)
    pacer.push(0, [DATAGRAM] * 100)
    assert drain(pacer, 10 * SECOND) <= BURST_BYTES // len(DATAGRAM) + 1


def test_each_datagram_says_with_which_picture_it_leaves_and_answers_leave_with_none() -> None:
    pacer = Pacer(4000)
    pacer.push(7, [b"a", b"b"])
    pacer.push(8, [b"c"])
    pacer.push_first([b"!"])
    assert pacer.poll(0) == [(None, b"!"), (7, b"a"), (7, b"b"), (8, b"c")]
    assert pacer.idle
    assert pacer.waiting_bytes == 0


def test_a_picture_of_a_second_does_not_fill_a_queue_of_a_third_of_one() -> None:
    pacer, path_bps = Pacer(4000), 1_000_000
    pacer.push(0, [DATAGRAM])  # as long as nothing is known of the path
    drain(pacer, 0)
    pacer.set_path_rate(path_bps)
    for start_us in (2 * SECOND, 4 * SECOND):  # the second as the first
        pacer.push(0, [DATAGRAM] * (path_bps // 8 // len(DATAGRAM)))
        now_us, sent_bytes, longest_us = start_us, 0, 0.0
        while not pacer.idle:
            sent_bytes += drain(pacer, now_us) * len(DATAGRAM)
            longest_us = max(longest_us, sent_bytes * 8 * SECOND / path_bps - (now_us - start_us))
            now_us = pacer.poll_timeout() or now_us
        assert longest_us < SECOND // 8
        assert 0.9 * SECOND < now_us - start_us < SECOND  # the path is not idle meanwhile
