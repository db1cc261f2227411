"""Flip every bit of every kind of datagram: nothing opens, nothing is believed, nothing raises but MalformedPacket."""

import hmac
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.handshaking import (
    ADDRESS,
    CLIENT_START_US,
    SERVER_START_US,
    entropy,
    hello_with_cookie,
    knock,
    listen,
    replied,
    room,
    sent,
)
from udpconf.limits import DATAGRAM_MAX_BYTES
from udpconf.proto.crypto import SUITES, AeadPacketKey, Suite
from udpconf.wire.envelope import (
    HEADER_BYTES,
    Channel,
    Envelope,
    MalformedPacket,
    decode_envelope_untrusted,
    encode_envelope,
)
from udpconf.wire.handshake import (
    HELLO_BYTES,
    HELLO_TRANSCRIPT_BYTES,
    Reject,
    RejectReason,
    decode_accept_untrusted,
    decode_hello_untrusted,
    decode_parameters_untrusted,
    decode_reject_untrusted,
    decode_retry_untrusted,
    encode_reject,
)
from udpconf.wire.packet_number import expand

KEY = room().mac1_key


def flipped(datagram: bytes, *, end: int | None = None) -> Iterator[tuple[int, bytes]]:
    for bit in range((len(datagram) if end is None else end) * 8):
        copy = bytearray(datagram)
        copy[bit // 8] ^= 1 << bit % 8
        yield bit, bytes(copy)


@pytest.mark.parametrize("suite", SUITES)
def test_a_protected_packet_with_one_bit_flipped_never_opens(suite: Suite) -> None:
    key = AeadPacketKey(suite, bytes(range(32)))
    number = 0x0123456789
    header = encode_envelope(Envelope(0, Channel.MAIN, 0xCAFE, number & 0xFFFFFF))
    packet = header + key.seal(number, header, b"forty bytes of something that was a picture")
    assert key.open(number, packet[:HEADER_BYTES], packet[HEADER_BYTES:]) is not None
    for bit, copy in flipped(packet):
        try:
            envelope = decode_envelope_untrusted(copy)
        except MalformedPacket:
            continue
        rebuilt = expand(number, envelope.truncated_packet_number)
        assert key.open(rebuilt, copy[:HEADER_BYTES], copy[HEADER_BYTES:]) is None, f"bit {bit}"


def test_a_hello_with_one_bit_flipped_is_malformed_where_it_means_anything() -> None:
    listener, client = listen(), knock()
    hello = hello_with_cookie(client, listener)
    for bit, copy in flipped(hello, end=HELLO_TRANSCRIPT_BYTES):
        with pytest.raises(MalformedPacket):
            decode_hello_untrusted(copy, KEY)
        reply = listener.handle_datagram(SERVER_START_US, ADDRESS, copy)
        assert reply is None or 8 <= bit < 16, f"bit {bit}"  # another version is told so
    assert len(listener) == 0


def test_a_retry_with_one_bit_flipped_is_malformed() -> None:
    listener, client = listen(), knock()
    retry = replied(listener, sent(client))
    for _, copy in flipped(retry):
        with pytest.raises(MalformedPacket):
            decode_retry_untrusted(copy, KEY)
        client.handle_datagram(CLIENT_START_US, copy)
    assert client.poll_transmit() is None


def test_a_reject_with_one_bit_flipped_is_malformed() -> None:
    client = knock()
    reject = encode_reject(Reject(RejectReason.FULL, client.client_connection_id), KEY)
    for _, copy in flipped(reject):
        with pytest.raises(MalformedPacket):
            decode_reject_untrusted(copy, KEY)
        client.handle_datagram(CLIENT_START_US, copy)
    assert "rejected" not in client.counters


def test_an_accept_with_one_bit_flipped_never_opens() -> None:
    listener = listen()
    client = knock()
    accept = replied(listener, hello_with_cookie(client, listener))
    for bit, copy in flipped(accept):
        fresh = knock()  # the same seed: the same attempt
        hello_with_cookie(fresh, listener)
        fresh.handle_datagram(CLIENT_START_US, copy)
        assert fresh.established is None, f"bit {bit}"
        fresh.handle_datagram(CLIENT_START_US, accept)
        assert fresh.established is not None, f"bit {bit} spoilt the attempt"


HANDSHAKE_START = st.sampled_from([bytes((kind, version)) for kind in range(6) for version in (0, 1, 2)])
GARBAGE = st.one_of(
    st.binary(max_size=200),
    st.builds(lambda start, rest: start + rest, HANDSHAKE_START, st.binary(max_size=150)),
    st.builds(
        lambda start, rest, size: (start + rest).ljust(size, b"\0")[:size],
        HANDSHAKE_START,
        st.binary(max_size=150),
        st.sampled_from([32, 48, 64, 112, HELLO_BYTES]),
    ),
)


@given(GARBAGE)
def test_a_decoder_answers_garbage_with_a_value_or_with_malformed_packet(data: bytes) -> None:
    for decode in (
        decode_envelope_untrusted,
        decode_accept_untrusted,
        decode_parameters_untrusted,
        lambda data: decode_hello_untrusted(data, KEY),
        lambda data: decode_retry_untrusted(data, KEY),
        lambda data: decode_reject_untrusted(data, KEY),
    ):
        try:
            decode(data)
        except MalformedPacket as malformed:
            assert malformed.reason  # noqa: PT017 - any of them may raise or not


LISTENER = listen(seed="garbage")


@given(GARBAGE)
def test_garbage_never_raises_in_the_listener_never_leaves_state_and_never_earns_more_than_it_is(
    data: bytes,
) -> None:
    reply = LISTENER.handle_datagram(SERVER_START_US, ADDRESS, data)
    assert reply is None or len(reply) < len(data)
    assert len(LISTENER) == 0


@given(st.lists(GARBAGE, max_size=20), st.integers(0, 2**32))
def test_garbage_never_raises_in_a_client_and_never_gets_it_in(datagrams: list[bytes], seed: int) -> None:
    client = knock(seed=seed)
    for data in datagrams:
        client.handle_datagram(CLIENT_START_US, data)
    assert client.established is None
    assert client.failure is None


# What an attacker with a valid cookie and a Python prompt can try: any body under the right mac.
@given(st.lists(st.binary(min_size=93, max_size=93), max_size=20), st.booleans())
def test_well_sealed_nonsense_never_raises_in_the_listener(bodies: list[bytes], start_right: bool) -> None:
    listener = listen(seed="nonsense")
    bytes_in = bytes_out = 0
    for body in bodies:
        start = b"\x01\x01" + body[2:] if start_right else body
        data = (start + hmac.digest(KEY, start, "sha256")[:16]).ljust(HELLO_BYTES, b"\0")
        bytes_in += len(data)
        bytes_out += len(listener.handle_datagram(SERVER_START_US, ADDRESS, data) or b"")
    assert bytes_out <= bytes_in * 64 // HELLO_BYTES
    assert len(listener) == 0


ACTIONS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4), st.integers(0, 12_000_000)), max_size=40)


@given(ACTIONS)
def test_in_any_order_of_anything_an_unproven_address_gets_less_than_it_sent(
    actions: list[tuple[int, int, int]],
) -> None:
    """Fresh HELLOs, HELLOs with good, old and foreign cookies, copies, other versions, from five addresses."""
    listener = listen(seed="ratio")
    random = entropy("ratio")
    hellos = [sent(knock(seed=f"ratio/{n}")) for n in range(5)]
    with_cookie: list[bytes] = []
    balance: dict[int, int] = {}
    now_us = SERVER_START_US
    for kind, who, wait_us in actions:
        now_us += wait_us
        if kind <= 1 or not with_cookie:
            data = hellos[who]
        elif kind <= 3:
            data = with_cookie[-1 - who % len(with_cookie)]
        elif kind == 4:
            data = hellos[who][:1] + b"\x07" + hellos[who][2:]
        else:
            data = random(1 + who * 300)
        reply = listener.handle_datagram(now_us, (f"203.0.113.{who}", 40_000), data)
        balance[who] = balance.get(who, 0) + len(data) - len(reply or b"")
        assert balance[who] >= 0
        assert reply is None or len(reply) < len(data) <= DATAGRAM_MAX_BYTES
        if reply is not None and reply[0] == 2:
            client = knock(seed=f"ratio/{who}")
            sent(client)
            client.handle_datagram(CLIENT_START_US, reply)
            if (answer := client.poll_transmit()) is not None:
                with_cookie.append(answer)
