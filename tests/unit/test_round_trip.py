"""RTT and clock offset from PING and PONG."""

from udpconf.limits import MS, SECOND
from udpconf.proto.rtt import RoundTrip

OFFSET_US = 123_456_789_000


def exchange(round_trip: RoundTrip, at_us: int, there_us: int, back_us: int, busy_us: int = 0) -> None:
    received_us = at_us + there_us + OFFSET_US
    round_trip.handle_pong(at_us, received_us, received_us + busy_us, at_us + there_us + busy_us + back_us)


def test_the_peers_busy_time_does_not_count() -> None:
    round_trip = RoundTrip()
    exchange(round_trip, 0, 10 * MS, 10 * MS, busy_us=500 * MS)
    assert round_trip.latest_rtt_us == 20 * MS
    assert round_trip.offset_us == OFFSET_US


def test_the_exchange_that_waited_least_is_believed() -> None:
    round_trip = RoundTrip()
    exchange(round_trip, 0, 90 * MS, 10 * MS)
    assert round_trip.offset_us == OFFSET_US + 40 * MS
    exchange(round_trip, 1 * SECOND, 10 * MS, 10 * MS)
    exchange(round_trip, 2 * SECOND, 10 * MS, 70 * MS)
    assert round_trip.offset_us == OFFSET_US


def test_old_exchanges_are_forgotten() -> None:
    round_trip = RoundTrip()
    exchange(round_trip, 0, 1 * MS, 1 * MS)
    exchange(round_trip, 30 * SECOND, 10 * MS, 14 * MS)
    assert round_trip.offset_us == OFFSET_US - 2 * MS


def test_a_clock_that_stood_still_while_its_machine_slept_is_noticed_with_the_next_exchange() -> None:
    round_trip = RoundTrip()
    exchange(round_trip, 0, 1 * MS, 1 * MS)
    asleep_us = 10 * SECOND
    received_us = 1 * SECOND + 5 * MS + OFFSET_US - asleep_us
    round_trip.handle_pong(1 * SECOND, received_us, received_us, 1 * SECOND + 10 * MS)
    assert round_trip.offset_us == OFFSET_US - asleep_us


def test_a_slow_and_lopsided_exchange_is_no_such_clock() -> None:
    round_trip = RoundTrip()
    exchange(round_trip, 0, 1 * MS, 1 * MS)
    exchange(round_trip, 1 * SECOND, 1900 * MS, 1 * MS)
    exchange(round_trip, 4 * SECOND, 1 * MS, 1900 * MS)
    assert round_trip.offset_us == OFFSET_US


def test_a_pong_that_cannot_be_is_ignored() -> None:
    round_trip = RoundTrip()
    round_trip.handle_pong(1000, 50, 60, 900)  # answered before it was asked
    round_trip.handle_pong(0, 0, 5 * MS, 1 * MS)  # took longer there than in all
    assert round_trip.latest_rtt_us is None


def test_the_low_32_bits_of_a_time_are_placed_near_now_on_either_side() -> None:
    round_trip = RoundTrip()
    now_us = 5_000_000_000
    exchange(round_trip, now_us - 4 * MS, 2 * MS, 2 * MS)
    for ago_us in (-1 * SECOND, 0, 20 * MS, 3 * SECOND):
        peer_time_us = now_us - ago_us + OFFSET_US
        assert round_trip.to_local_us(peer_time_us & 0xFFFFFFFF, now_us) == now_us - ago_us


def test_smoothing_follows_rfc_6298() -> None:
    round_trip = RoundTrip()
    exchange(round_trip, 0, 50 * MS, 50 * MS)
    assert (round_trip.smoothed_rtt_us, round_trip.rttvar_us) == (100 * MS, 50 * MS)
    exchange(round_trip, 1 * SECOND, 90 * MS, 90 * MS)
    assert (round_trip.smoothed_rtt_us, round_trip.rttvar_us) == (110 * MS, 57_500)
    assert round_trip.timeout_us == 110 * MS + 4 * 57_500
