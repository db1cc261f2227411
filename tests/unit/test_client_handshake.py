"""The client's half of the handshake: timers, forgeries, and when it gives up."""

from itertools import pairwise

import pytest

from tests.handshaking import (
    CLIENT_START_US,
    SERVER_START_US,
    established,
    hello_with_cookie,
    keys_fit,
    knock,
    listen,
    replied,
    room,
    sent,
)
from udpconf.errors import ConfigError
from udpconf.limits import CONFIRM_FAILURES_CLIENT, MS, SECOND
from udpconf.proto.client_handshake import ATTEMPT_LIFE_US, ClientHandshake
from udpconf.proto.room import Room
from udpconf.wire.handshake import (
    Reject,
    RejectReason,
    Retry,
    decode_hello_untrusted,
    encode_reject,
    encode_retry,
)

KEY = room().mac1_key


def run_timers(client: ClientHandshake, until_us: int) -> list[int]:
    """Let time pass with no reply; returns when HELLOs were sent, in microseconds since the start."""
    times: list[int] = []
    while (timeout_us := client.poll_timeout()) is not None and timeout_us <= CLIENT_START_US + until_us:
        client.handle_timeout(timeout_us)
        if client.poll_transmit() is not None:
            times.append(timeout_us - CLIENT_START_US)
    return times


def test_a_hello_is_repeated_after_100_ms_and_then_ever_slower_up_to_a_second() -> None:
    client = knock()
    sent(client)
    times = [0, *run_timers(client, 20 * SECOND)]
    waits = [later - earlier for earlier, later in pairwise(times)]
    nominal = 100 * MS
    for wait in waits:
        assert nominal * 3 // 4 <= wait <= nominal * 5 // 4
        nominal = min(1 * SECOND, nominal * 3 // 2)
    assert nominal == 1 * SECOND


def test_two_clients_do_not_knock_in_step() -> None:
    first, second = knock(seed=1), knock(seed=2)
    assert run_timers(first, 5 * SECOND) != run_timers(second, 5 * SECOND)


def test_an_early_timer_changes_nothing() -> None:
    client = knock()
    sent(client)
    client.handle_timeout(CLIENT_START_US + 1 * MS)
    assert client.poll_transmit() is None


def test_on_a_slow_path_the_second_hello_is_not_repeated_before_an_answer_can_be_there() -> None:
    client = knock()
    hello = sent(client)
    client.handle_datagram(CLIENT_START_US + 400 * MS, replied(listen(), hello))
    timeout_us = client.poll_timeout()
    assert timeout_us is not None
    assert timeout_us - CLIENT_START_US >= 400 * MS + 450 * MS


def test_the_round_trip_is_measured() -> None:
    listener, client = listen(), knock()
    client.handle_datagram(CLIENT_START_US + 30 * MS, replied(listener, sent(client)))
    client.handle_datagram(CLIENT_START_US + 55 * MS, replied(listener, sent(client)))
    assert established(client).rtt_us == 25 * MS


def test_when_all_is_over_nothing_more_is_sent_or_expected() -> None:
    listener, client = listen(), knock()
    accept = replied(listener, hello_with_cookie(client, listener))
    client.handle_datagram(CLIENT_START_US, accept)
    before = client.established
    client.handle_datagram(CLIENT_START_US, accept)
    client.handle_timeout(CLIENT_START_US + 9 * SECOND)
    assert (client.poll_timeout(), client.poll_transmit()) == (None, None)
    assert client.established is before


def test_a_forged_retry_without_the_connection_id_or_the_mac_is_ignored() -> None:
    client = knock()
    sent(client)
    own_id = client.client_connection_id
    client.handle_datagram(CLIENT_START_US, encode_retry(Retry(b"not his!", bytes(40)), KEY))
    client.handle_datagram(CLIENT_START_US, encode_retry(Retry(own_id, bytes(40)), b"another key"))
    assert client.poll_transmit() is None
    assert client.counters == {"connection id": 1, "mac": 1}


def test_a_forged_retry_from_the_path_costs_one_resend_and_not_the_handshake() -> None:
    listener, client = listen(), knock()
    honest = replied(listener, sent(client))
    client.handle_datagram(CLIENT_START_US, encode_retry(Retry(client.client_connection_id, bytes(40)), KEY))
    forged_cookie = sent(client)
    client.handle_datagram(CLIENT_START_US, honest)
    assert client.poll_transmit() is None
    client.handle_datagram(CLIENT_START_US, replied(listener, forged_cookie))
    timeout_us = client.poll_timeout()
    assert timeout_us is not None
    client.handle_timeout(timeout_us)
    client.handle_datagram(timeout_us, replied(listener, sent(client)))
    assert established(client)


def test_an_accept_for_an_earlier_cookie_still_opens() -> None:
    listener, client = listen(), knock()
    hello = sent(client)
    retries = [replied(listener, hello, now_us=SERVER_START_US + n * SECOND) for n in range(3)]
    assert len(set(retries)) == 3
    hellos = []
    for retry in retries:
        client.handle_datagram(CLIENT_START_US, retry)
        timeout_us = client.poll_timeout()
        assert timeout_us is not None
        if (data := client.poll_transmit()) is None:
            client.handle_timeout(timeout_us)
            data = sent(client)
        hellos.append(data)
    assert len(set(hellos)) == 3
    client.handle_datagram(CLIENT_START_US, replied(listener, hellos[0], now_us=SERVER_START_US + 3 * SECOND))
    half_open = listener.find(established(client).session_id)
    assert half_open is not None
    assert keys_fit(established(client).keys, half_open.keys)


@pytest.mark.parametrize(("count", "failure"), [(2, None), (3, "refused")])
def test_three_accepts_that_do_not_open_mean_a_wrong_passphrase(count: int, failure: str | None) -> None:
    assert CONFIRM_FAILURES_CLIENT == 3
    listener, client = listen(), knock(passphrase="wrong")
    for _ in range(count):
        client.handle_datagram(CLIENT_START_US, replied(listener, hello_with_cookie(client, listener)))
    assert client.failure == failure
    assert (client.poll_timeout() is None) is (failure is not None)


def test_after_an_accept_that_does_not_open_a_fresh_attempt_starts_at_once() -> None:
    listener, client = listen(), knock(passphrase="wrong")
    first_id = client.client_connection_id
    client.handle_datagram(CLIENT_START_US, replied(listener, hello_with_cookie(client, listener)))
    fresh = decode_hello_untrusted(sent(client), KEY)
    assert fresh.client_connection_id == client.client_connection_id != first_id
    assert fresh.cookie == b""


def test_one_accept_repeated_is_one_failed_attempt() -> None:
    listener, client = listen(), knock(passphrase="wrong")
    accept = replied(listener, hello_with_cookie(client, listener))
    for _ in range(10):
        client.handle_datagram(CLIENT_START_US, accept)
    assert client.failure is None


def test_the_right_accept_right_behind_a_forged_one_still_counts() -> None:
    listener, client = listen(), knock()
    first_id = client.client_connection_id
    accept = replied(listener, hello_with_cookie(client, listener))
    client.handle_datagram(CLIENT_START_US, accept[:-1] + bytes((accept[-1] ^ 1,)))
    assert client.client_connection_id != first_id
    client.handle_datagram(CLIENT_START_US, accept)
    assert established(client)
    assert client.client_connection_id == first_id
    assert client.poll_transmit() is None


@pytest.mark.parametrize("place", [0, 1, 2, 3, 4, 11])
def test_an_accept_that_answers_no_hello_of_ours_is_no_failed_attempt(place: int) -> None:
    """Another type, version, suite, mode or connection id: not an answer, so not a wrong passphrase."""
    listener, client = listen(), knock()
    accept = replied(listener, hello_with_cookie(client, listener))
    own_id = client.client_connection_id
    for value in range(256):
        if value != accept[place] and (place, value) != (2, 2):
            client.handle_datagram(CLIENT_START_US, accept[:place] + bytes((value,)) + accept[place + 1 :])
    assert client.client_connection_id == own_id
    client.handle_datagram(CLIENT_START_US, accept)
    assert established(client)


def test_an_accept_with_a_point_of_low_order_is_dropped_without_a_word() -> None:
    listener, client = listen(), knock()
    accept = replied(listener, hello_with_cookie(client, listener))
    own_id = client.client_connection_id
    client.handle_datagram(CLIENT_START_US, accept[:16] + bytes(32) + accept[48:])
    assert client.counters == {"invalid point": 1}
    assert client.client_connection_id == own_id


def test_an_accept_before_any_cookie_is_no_failed_attempt() -> None:
    listener, client = listen(), knock()
    other = knock(seed="other")
    accept = replied(listener, hello_with_cookie(other, listener))
    sent(client)
    own_id = client.client_connection_id
    client.handle_datagram(CLIENT_START_US, accept[:4] + own_id + accept[12:])
    assert client.client_connection_id == own_id


@pytest.mark.parametrize(
    ("reason", "patience_us", "failure"),
    [
        (RejectReason.FULL, 3 * SECOND, "full"),
        (RejectReason.VERSION, 3 * SECOND, "version"),
        (RejectReason.BUSY, 6 * SECOND, "full"),
    ],
)
def test_a_reject_is_believed_after_some_seconds_without_anything_better(
    reason: RejectReason, patience_us: int, failure: str
) -> None:
    client = knock()
    sent(client)
    reject = encode_reject(Reject(reason, client.client_connection_id), KEY)
    client.handle_datagram(CLIENT_START_US, reject)
    assert len(run_timers(client, patience_us - 1)) > 3
    client.handle_datagram(CLIENT_START_US + patience_us - 1, reject)  # one more does not prolong it
    assert client.failure is None
    client.handle_timeout(CLIENT_START_US + patience_us)
    assert client.failure == failure


def test_a_forged_reject_does_not_end_a_handshake_that_goes_on() -> None:
    listener, client = listen(), knock()
    hello = hello_with_cookie(client, listener)
    reject = encode_reject(Reject(RejectReason.FULL, client.client_connection_id), KEY)
    client.handle_datagram(CLIENT_START_US, reject)
    client.handle_datagram(CLIENT_START_US, reject)
    client.handle_datagram(CLIENT_START_US, replied(listener, hello))
    assert established(client)


def test_a_reject_for_somebody_else_is_ignored() -> None:
    client = knock()
    client.handle_datagram(CLIENT_START_US, encode_reject(Reject(RejectReason.FULL, b"not his!"), KEY))
    client.handle_datagram(
        CLIENT_START_US, encode_reject(Reject(RejectReason.FULL, client.client_connection_id), b"key")
    )
    run_timers(client, 20 * SECOND)
    assert client.failure is None


def test_a_server_busy_with_our_own_wrong_guesses_is_reported_as_a_refusal() -> None:
    listener, client = listen(), knock(passphrase="wrong")
    client.handle_datagram(CLIENT_START_US, replied(listener, hello_with_cookie(client, listener)))
    busy = encode_reject(Reject(RejectReason.BUSY, client.client_connection_id), KEY)
    client.handle_datagram(CLIENT_START_US, busy)
    run_timers(client, 6 * SECOND)
    assert client.failure == "refused"


def test_when_every_copy_of_an_accept_was_lost_a_fresh_attempt_is_made() -> None:
    listener, client = listen(), knock()
    old_id = client.client_connection_id
    hello_with_cookie(client, listener)
    run_timers(client, ATTEMPT_LIFE_US - 1)
    assert client.client_connection_id == old_id
    run_timers(client, ATTEMPT_LIFE_US + 1 * SECOND + 250 * MS)
    assert client.client_connection_id != old_id


def test_unreachable_is_for_the_caller_to_say() -> None:
    client = knock()
    assert len(run_timers(client, 60 * SECOND)) > 50
    assert client.failure is None


def test_an_empty_passphrase_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="empty"):
        Room.from_passphrase("")


def test_two_ways_to_type_an_accent_are_one_passphrase() -> None:
    assert Room.from_passphrase("caf\u00e9").generator == Room.from_passphrase("cafe\u0301").generator
    assert Room.from_passphrase("bytes that are no text: \udcff").generator


def test_a_rooms_repr_tells_nothing() -> None:
    assert room().generator.hex() not in repr(room())
    assert repr(room().generator) not in repr(room())
