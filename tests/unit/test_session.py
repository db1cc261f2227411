"""A session believes about the path what answers its own questions, and nothing else."""

from udpconf.limits import MS, SECOND
from udpconf.proto.crypto import Direction, NullPacketKey, SessionKeys
from udpconf.proto.session import Session
from udpconf.wire.envelope import Channel, decode_envelope_untrusted
from udpconf.wire.frames import Pong, encode_pong


def pair() -> tuple[Session, Session]:
    keys = SessionKeys({(way, channel): NullPacketKey() for way in Direction for channel in Channel})
    return (
        Session(keys, Direction.CLIENT_TO_SERVER, 2, 0),
        Session(keys, Direction.SERVER_TO_CLIENT, 1, 0),
    )


def carry(now_us: int, sender: Session, receiver: Session, plaintext: bytes) -> None:
    datagram = sender.seal(Channel.MAIN, plaintext)
    receiver.handle_datagram(now_us, datagram, decode_envelope_untrusted(datagram))


def test_an_answer_to_a_ping_tells_the_round_trip_once() -> None:
    client, server = pair()
    client.handle_timeout(0, 0)
    ping = client.poll_plaintext()
    assert ping is not None
    carry(10 * MS, client, server, ping)
    pong = server.poll_plaintext()
    assert pong is not None
    carry(20 * MS, server, client, pong)
    assert client.round_trip.latest_rtt_us == 20 * MS
    carry(90 * MS, server, client, pong)  # the same in another packet
    assert client.round_trip.latest_rtt_us == 20 * MS


def test_an_answer_to_a_ping_that_nobody_sent_changes_nothing() -> None:
    client, server = pair()
    client.handle_timeout(100 * MS, 0)
    for made_up_us in (0, 99 * MS, 101 * MS):
        carry(110 * MS, server, client, encode_pong(Pong(made_up_us, 0, 0)))
    assert client.round_trip.latest_rtt_us is None
    assert client.round_trip.offset_us is None


def test_it_asks_once_a_second_and_ten_times_a_second_while_nothing_comes() -> None:
    client, server = pair()
    asked_us: list[int] = []
    for now_us in range(0, 5 * SECOND, 10 * MS):
        if now_us < 3 * SECOND and now_us % (100 * MS) == 0:
            carry(now_us, server, client, b"")  # it is heard until 2.9 s
        client.handle_timeout(now_us, 0)
        while client.poll_plaintext() is not None:
            asked_us.append(now_us)
    assert sum(time_us < SECOND for time_us in asked_us) == 8
    assert 2 <= sum(SECOND <= time_us < 3_400 * MS for time_us in asked_us) <= 3
    assert sum(time_us >= 4_400 * MS for time_us in asked_us) == 6
