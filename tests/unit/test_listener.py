"""The server's half of the handshake: what strangers get, and what they cost."""

import random

import pytest

from tests.handshaking import (
    ADDRESS,
    CLIENT_START_US,
    PASSPHRASE,
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
from udpconf.limits import (
    ACCEPT_REPEATS,
    HALF_OPEN_LIFE_US,
    HALF_OPEN_MAX,
    HALF_OPEN_PER_SOURCE,
    SECOND,
)
from udpconf.proto.client_handshake import ClientHandshake
from udpconf.proto.cpace import exchange
from udpconf.proto.events import Address
from udpconf.proto.listener import HandshakeListener
from udpconf.wire.handshake import (
    ACCEPT,
    ACCEPT_BYTES,
    HELLO_BYTES,
    REJECT,
    REJECT_BYTES,
    RETRY,
    RETRY_BYTES,
    Hello,
    Mode,
    RejectReason,
    decode_accept_untrusted,
    decode_hello_untrusted,
    decode_reject_untrusted,
    encode_hello,
)


def accept_from(
    listener: HandshakeListener, address: Address, seed: int, *, now_us: int = SERVER_START_US
) -> bytes:
    """A whole handshake of a new client at an address; returns what the listener said last."""
    client = knock(seed=seed)
    retry = listener.handle_datagram(now_us, address, sent(client))
    assert retry is not None
    client.handle_datagram(CLIENT_START_US, retry)
    answer = listener.handle_datagram(now_us, address, sent(client))
    assert answer is not None
    return answer


@pytest.fixture
def exchanges(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every point that the listener multiplies, in order."""
    points: list[bytes] = []

    def counted(scalar: bytes, point: bytes) -> bytes | None:
        points.append(point)
        return exchange(scalar, point)

    monkeypatch.setattr("udpconf.proto.listener.exchange", counted)
    return points


def test_a_stranger_gets_a_cookie_and_costs_neither_memory_nor_curve_arithmetic(
    exchanges: list[bytes],
) -> None:
    listener, client = listen(), knock()
    retry = replied(listener, sent(client))
    assert (retry[0], len(retry)) == (RETRY, RETRY_BYTES)
    assert len(listener) == 0
    assert exchanges == []


def test_a_stranger_with_his_cookie_is_accepted_under_the_same_keys(exchanges: list[bytes]) -> None:
    listener, client = listen(), knock()
    accept = replied(listener, hello_with_cookie(client, listener))
    assert (accept[0], len(accept)) == (ACCEPT, ACCEPT_BYTES)
    assert len(exchanges) == 2
    client.handle_datagram(CLIENT_START_US, accept)
    session = established(client)
    half_open = listener.find(session.session_id)
    assert half_open is not None
    assert half_open.address == ADDRESS
    assert half_open.client_connection_id == client.client_connection_id
    assert session.parameters == listener.parameters
    assert session.server_time_us == SERVER_START_US
    assert keys_fit(session.keys, half_open.keys)


def test_a_stale_cookie_earns_a_new_one_and_no_arithmetic(exchanges: list[bytes]) -> None:
    listener, client = listen(), knock()
    hello = hello_with_cookie(client, listener)
    reply = replied(listener, hello, now_us=SERVER_START_US + 11 * SECOND)
    assert reply[0] == RETRY
    assert exchanges == []
    assert listener.counters["stale cookie"] == 1


def test_a_cookie_taken_elsewhere_earns_a_new_one_and_no_arithmetic(exchanges: list[bytes]) -> None:
    listener, client = listen(), knock()
    hello = hello_with_cookie(client, listener)
    reply = listener.handle_datagram(SERVER_START_US, ("203.0.113.1", ADDRESS[1]), hello)
    assert reply is not None
    assert reply[0] == RETRY
    assert exchanges == []


def test_a_repeated_hello_gets_the_same_accept_three_times_and_then_silence(exchanges: list[bytes]) -> None:
    assert ACCEPT_REPEATS == 3
    listener, client = listen(), knock()
    hello = hello_with_cookie(client, listener)
    accept = replied(listener, hello)
    again = [listener.handle_datagram(SERVER_START_US, ADDRESS, hello) for _ in range(5)]
    assert again == [accept, accept, accept, None, None]
    assert len(listener) == 1
    assert len(exchanges) == 2


def test_a_replayed_hello_touches_no_session_and_its_accept_opens_for_nobody() -> None:
    listener, client = listen(), knock()
    hello = hello_with_cookie(client, listener)
    accept = replied(listener, hello)
    client.handle_datagram(CLIENT_START_US, accept)
    session = established(client)
    opened = listener.take(session.session_id)
    assert opened is not None
    # The session is open; somebody on the path sends the HELLO again from the same address, within ten seconds.
    replay = replied(listener, hello, now_us=SERVER_START_US + 9 * SECOND)
    assert replay != accept
    assert listener.find(session.session_id) is None
    created = listener.find(decode_accept_untrusted(replay).session_id)
    assert created is not None
    assert not keys_fit(session.keys, created.keys)
    listener.handle_timeout(SERVER_START_US + 9 * SECOND + HALF_OPEN_LIFE_US)
    assert len(listener) == 0


def test_a_replayed_hello_of_yesterday_is_a_stranger() -> None:
    listener, client = listen(), knock()
    hello = hello_with_cookie(client, listener)
    assert replied(listener, hello)[0] == ACCEPT
    assert replied(listener, hello, now_us=SERVER_START_US + 86_400 * SECOND)[0] == RETRY
    assert len(listener) == 0


@pytest.mark.parametrize(("age_us", "there"), [(-1, True), (0, False), (1, False)])
def test_a_half_open_session_lasts_five_seconds(age_us: int, there: bool) -> None:
    listener, client = listen(), knock()
    session_id = decode_accept_untrusted(replied(listener, hello_with_cookie(client, listener))).session_id
    listener.handle_timeout(SERVER_START_US + HALF_OPEN_LIFE_US + age_us)
    assert (listener.find(session_id) is not None) is there


def test_one_source_has_four_half_open_sessions_at_most() -> None:
    assert HALF_OPEN_PER_SOURCE == 4
    listener = listen()
    kinds = [accept_from(listener, (ADDRESS[0], 40_000 + n), n)[0] for n in range(5)]
    assert kinds == [ACCEPT, ACCEPT, ACCEPT, ACCEPT, REJECT]
    assert accept_from(listener, ("203.0.113.1", 1), 6)[0] == ACCEPT


def test_one_ipv6_subscriber_is_one_source_and_his_neighbour_another() -> None:
    listener = listen()
    kinds = [accept_from(listener, (f"2001:db8:1:2:{n}::1", 40_000, 0, 0), n)[0] for n in range(1, 6)]
    assert kinds == [ACCEPT, ACCEPT, ACCEPT, ACCEPT, REJECT]
    assert accept_from(listener, ("2001:db8:1:3::1", 40_000, 0, 0), 7)[0] == ACCEPT


def test_a_place_becomes_free_when_a_session_opens_and_when_one_runs_out() -> None:
    listener = listen()
    accepts = [accept_from(listener, ADDRESS, n) for n in range(HALF_OPEN_PER_SOURCE)]
    assert accept_from(listener, ADDRESS, 100)[0] == REJECT
    listener.take(decode_accept_untrusted(accepts[1]).session_id)
    assert accept_from(listener, ADDRESS, 101)[0] == ACCEPT
    assert accept_from(listener, ADDRESS, 102)[0] == REJECT
    later_us = SERVER_START_US + HALF_OPEN_LIFE_US
    assert accept_from(listener, ADDRESS, 103, now_us=later_us)[0] == ACCEPT
    assert listener.counters["never confirmed"] == HALF_OPEN_PER_SOURCE


def test_there_are_64_half_open_sessions_at_most_and_the_next_is_rejected_without_arithmetic(
    exchanges: list[bytes],
) -> None:
    assert HALF_OPEN_MAX == 64
    listener = listen()
    kinds = [accept_from(listener, (f"203.0.113.{n}", 40_000), n)[0] for n in range(65)]
    assert kinds == [ACCEPT] * 64 + [REJECT]
    assert len(listener) == 64
    assert len(exchanges) == 2 * 64


def test_a_full_server_says_so_to_those_with_a_cookie_only(exchanges: list[bytes]) -> None:
    listener, client = listen(is_full=lambda: True), knock()
    hello = hello_with_cookie(client, listener)
    reject = replied(listener, hello)
    assert len(reject) == REJECT_BYTES
    assert decode_reject_untrusted(reject, room().mac1_key).reason is RejectReason.FULL
    assert exchanges == []
    assert len(listener) == 0


def test_a_hello_of_another_version_is_told_so() -> None:
    client = knock()
    hello = sent(client)
    reject = replied(listen(), hello[:1] + b"\x02" + hello[2:])
    decoded = decode_reject_untrusted(reject, room().mac1_key)
    assert decoded.reason is RejectReason.VERSION
    assert decoded.client_connection_id == client.client_connection_id


def test_a_client_that_offers_no_suite_of_ours_is_told_that_it_is_too_new_or_too_old() -> None:
    listener, client = listen(), knock()
    hello = decode_hello_untrusted(hello_with_cookie(client, listener), room().mac1_key)
    strange = encode_hello(hello._replace(suites=0x40), room().mac1_key)
    reject = replied(listener, strange)
    assert decode_reject_untrusted(reject, room().mac1_key).reason is RejectReason.VERSION


@pytest.mark.parametrize("offer", [1, 2, 3])
def test_the_server_takes_the_first_suite_it_likes_among_those_offered(offer: int) -> None:
    listener, client = listen(), knock()
    hello = decode_hello_untrusted(hello_with_cookie(client, listener), room().mac1_key)
    accept = replied(listener, encode_hello(hello._replace(suites=offer), room().mac1_key))
    assert decode_accept_untrusted(accept).suite == (2 if offer == 2 else 1)


def test_a_point_of_low_order_is_dropped_without_a_word() -> None:
    listener = listen()
    cookie = b""
    for _ in range(2):
        hello = Hello(3, Mode.PASSPHRASE, b"8 bytes!", bytes(32), room().selector, cookie)
        reply = listener.handle_datagram(SERVER_START_US, ADDRESS, encode_hello(hello, room().mac1_key))
        if reply is not None:
            cookie = reply[12:52]
    assert reply is None
    assert listener.counters["invalid point"] == 1
    assert len(listener) == 0


@pytest.mark.parametrize("mode", [Mode.ROOM_KEY, 3, 255])
def test_modes_that_nobody_offers_yet_are_met_with_silence(mode: int) -> None:
    hello = Hello(3, mode, b"8 bytes!", bytes(32), room().selector, b"")
    assert listen().handle_datagram(SERVER_START_US, ADDRESS, encode_hello(hello, room().mac1_key)) is None


def test_another_room_is_met_with_silence() -> None:
    hello = Hello(3, Mode.PASSPHRASE, b"8 bytes!", bytes(32), b"elsewher", b"")
    assert listen().handle_datagram(SERVER_START_US, ADDRESS, encode_hello(hello, room().mac1_key)) is None


def test_session_ids_are_random_and_never_one_in_use() -> None:
    asked: list[int] = []

    def in_use(session_id: int) -> bool:
        asked.append(session_id)
        return len(asked) == 1

    listener, client = listen(in_use=in_use), knock()
    accept = replied(listener, hello_with_cookie(client, listener))
    assert len(asked) == 2
    assert decode_accept_untrusted(accept).session_id == asked[1] != asked[0]


def test_without_a_free_session_id_nobody_gets_in_and_nothing_hangs() -> None:
    listener, client = listen(in_use=lambda _: True), knock()
    assert listener.handle_datagram(SERVER_START_US, ADDRESS, hello_with_cookie(client, listener)) is None
    assert listener.counters["no session id"] == 1


@pytest.mark.parametrize("length", [0, 1, 64, HELLO_BYTES - 1, HELLO_BYTES + 1, 9000])
def test_a_hello_of_any_other_length_is_met_with_silence(length: int) -> None:
    hello = sent(knock()).ljust(length, b"\0")[:length]
    listener = listen()
    assert listener.handle_datagram(SERVER_START_US, ADDRESS, hello) is None
    assert listener.counters == {"hello length": 1}


def test_what_a_server_sends_is_not_an_answer_to_a_server() -> None:
    listener, client = listen(), knock()
    retry = replied(listener, sent(client))
    for kind in range(6):
        if kind != 1:
            padded = (bytes((kind,)) + retry[1:]).ljust(HELLO_BYTES, b"\0")
            assert listener.handle_datagram(SERVER_START_US, ADDRESS, padded) is None


def test_a_flood_of_hellos_without_cookies_leaves_no_state() -> None:
    listener = listen()
    rng = random.Random("flood")
    hello = decode_hello_untrusted(sent(knock()), room().mac1_key)
    for _ in range(500):
        stranger = hello._replace(client_connection_id=rng.randbytes(8), key_share=rng.randbytes(32))
        address = (f"203.0.113.{rng.randrange(256)}", rng.randrange(1, 65_536))
        reply = listener.handle_datagram(SERVER_START_US, address, encode_hello(stranger, room().mac1_key))
        assert reply is not None
        assert len(reply) == RETRY_BYTES
    assert len(listener) == 0
    assert listener.counters == {"no cookie": 500}


def test_a_client_without_a_passphrase_looks_like_one_with_a_wrong_passphrase() -> None:
    for client in (knock(passphrase=None), knock(passphrase="wrong")):
        listener = listen(passphrase=PASSPHRASE)
        accept = replied(listener, hello_with_cookie(client, listener))
        assert accept[0] == ACCEPT
        client.handle_datagram(CLIENT_START_US, accept)
        assert client.established is None


def test_an_open_room_lets_everybody_in_under_keys_of_their_own() -> None:
    listener = listen(passphrase=None)
    clients = [knock(passphrase=None, seed=n) for n in range(2)]
    for client in clients:
        client.handle_datagram(CLIENT_START_US, replied(listener, hello_with_cookie(client, listener)))
    first, second = (established(client).keys for client in clients)
    assert not keys_fit(first, second)


def test_the_null_cipher_is_a_choice_of_both_programs_not_of_the_wire() -> None:
    server = HandshakeListener(
        room(), 0, random.Random(1).randbytes, in_use=lambda _: False, is_full=lambda: False, null_cipher=True
    )
    nulled = ClientHandshake(room(), 0, random.Random(2).randbytes, null_cipher=True)
    for client, fits in ((nulled, True), (knock(), False)):
        client.handle_datagram(CLIENT_START_US, replied(server, hello_with_cookie(client, server)))
        half_open = server.find(established(client).session_id)
        assert half_open is not None
        assert keys_fit(established(client).keys, half_open.keys) is fits
