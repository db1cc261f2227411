"""Whom a server tells of as having another key, and how seldom."""

import pytest

from tests.handshaking import ADDRESS, SERVER_START_US, established, hello_with_cookie, knock, listen, replied
from udpconf.limits import (
    CONFIRM_FAILURES_CLIENT,
    HALF_OPEN_LIFE_US,
    REFUSALS_TOLD_INTERVAL_US,
    REFUSALS_TOLD_MAX,
    SECOND,
)
from udpconf.proto.events import Address, ClientRefused
from udpconf.proto.listener import HandshakeListener
from udpconf.proto.refusals import RefusalsTold


def told(
    listener: HandshakeListener, address: Address, seed: int, *, now_us: int = SERVER_START_US
) -> list[ClientRefused | None]:
    """What is told of a client with a wrong passphrase, attempt by attempt; the seeds of attempts differ."""
    after: list[ClientRefused | None] = []
    for attempt in range(CONFIRM_FAILURES_CLIENT):
        client = knock(passphrase="wrong", seed=f"{seed}/{attempt}")
        for _ in range(2):  # for a cookie, and with it
            data = client.poll_transmit()
            assert data is not None
            reply = listener.handle_datagram(now_us, address, data)
            assert reply is not None
            client.handle_datagram(now_us, reply)
        assert client.established is None
        after.append(listener.poll_refused())
    return after


def test_a_client_is_told_of_when_it_starts_afresh_a_second_time() -> None:
    listener = listen()
    assert told(listener, ADDRESS, 1) == [None, None, ClientRefused(("198.51.100.7", 40_000))]
    assert listener.poll_refused() is None


def test_without_a_passphrase_one_is_told_of_like_one_with_a_wrong_one() -> None:
    listener = listen()
    for seed in range(CONFIRM_FAILURES_CLIENT):
        assert listener.poll_refused() is None
        replied(listener, hello_with_cookie(knock(passphrase=None, seed=seed), listener))
    assert listener.poll_refused() is not None


def test_a_stranger_without_a_cookie_and_a_repeated_hello_are_not_told_of() -> None:
    listener, client = listen(), knock(passphrase="wrong")
    hello = hello_with_cookie(client, listener)
    for _ in range(3):
        replied(listener, hello)
    assert listener.poll_refused() is None


def test_three_clients_behind_one_address_with_the_right_key_are_not_told_of() -> None:
    listener = listen()
    for number in range(CONFIRM_FAILURES_CLIENT):
        client, address = knock(seed=number), (ADDRESS[0], 40_000 + number)
        for _ in range(2):
            data = client.poll_transmit()
            assert data is not None
            reply = listener.handle_datagram(SERVER_START_US, address, data)
            assert reply is not None
            client.handle_datagram(SERVER_START_US, reply)
        assert established(client)
    assert listener.poll_refused() is None


def test_a_client_that_comes_back_again_and_again_with_the_right_key_is_not_told_of() -> None:
    listener = listen()
    for seed in range(5):
        client = knock(seed=seed)
        client.handle_datagram(SERVER_START_US, replied(listener, hello_with_cookie(client, listener)))
        assert listener.take(established(client).session_id) is not None
    assert listener.poll_refused() is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("203.0.113.1", 40_000), ("203.0.113.1", 40_001)),
        (("2001:db8:1:2::1", 40_000, 0, 0), ("2001:db8:1:2:ffff::9", 40_000, 0, 0)),
    ],
)
def test_one_source_is_told_of_once_a_minute(one: Address, other: Address) -> None:
    listener = listen()
    assert told(listener, one, 1)[-1] is not None
    later_us = SERVER_START_US + HALF_OPEN_LIFE_US
    assert told(listener, other, 2, now_us=later_us)[-1] is None
    minute_us = SERVER_START_US + REFUSALS_TOLD_INTERVAL_US
    assert told(listener, other, 3, now_us=minute_us - 1)[-1] is None
    assert told(listener, other, 4, now_us=minute_us + HALF_OPEN_LIFE_US)[-1] == ClientRefused(
        (other[0], other[1])
    )


def test_a_flood_from_many_addresses_makes_six_lines_a_minute_and_remembers_no_more() -> None:
    refusals = RefusalsTold()
    assert (REFUSALS_TOLD_INTERVAL_US, REFUSALS_TOLD_MAX) == (60 * SECOND, 6)
    lines = [now_s for now_s in range(600) if refusals.tell(now_s * SECOND, now_s.to_bytes(16, "big"))]
    assert len(lines) == 10 * REFUSALS_TOLD_MAX
    assert all(sum(start <= line < start + 60 for line in lines) <= REFUSALS_TOLD_MAX for start in range(600))
