"""The latency is a dial: either side turns it while the stream runs, and the larger of both wishes holds."""

import pytest

from tests.conversation import SERVER_START_US, Conversation, Peer
from udpconf.emulation.link import LinkConditions
from udpconf.emulation.loss import loss_model
from udpconf.limits import MS
from udpconf.proto.client_config import ClientConfig
from udpconf.proto.events import LatencyChanged
from udpconf.proto.server_config import ServerConfig

WAY = LinkConditions(delay_us=20 * MS)
PASSPHRASE = "five words make a key"


def begin(latency_us: int | None = None, loss: float = 0.0) -> tuple[Conversation, Peer]:
    way = WAY._replace(loss=loss_model(loss))
    server = ServerConfig(PASSPHRASE, null_cipher=True, latency_us=latency_us)
    conversation = Conversation(up=way, down=way, server=server)
    peer = conversation.join(ClientConfig(PASSPHRASE, "cam", max_bitrate_kbps=8000, null_cipher=True))
    while peer.state != "connected":
        conversation.run(1)
    conversation.run(1)
    return conversation, peer


def turn(
    conversation: Conversation, peer: Peer, *, client: int | None = None, server: int | None = None
) -> None:
    """To so many milliseconds each; None leaves it."""
    if client is not None:
        peer.endpoint.set_latency(conversation.now_us + peer.clock_offset_us, client * MS or None)
        conversation.drain(peer)
    if server is not None:
        assert conversation.server is not None
        conversation.server.set_latency(SERVER_START_US + conversation.now_us, server * MS or None)


def latency_ms(conversation: Conversation, peer: Peer) -> float:
    """Of the frames that come out within a second from now, the median."""
    from_us = conversation.now_us
    conversation.run(1)
    due = conversation.frames_due(peer.endpoint.client_id)
    late = [at_us - peer.sent_at_us[event.frame.frame_id] for at_us, event in due if at_us >= from_us]
    return sorted(late)[len(late) // 2] / MS


def test_the_larger_wish_holds_whoever_turns() -> None:
    conversation, peer = begin()
    conversation.stream(peer, seconds=20)
    assert latency_ms(conversation, peer) < 30
    for client, server, expected in [(150, None, 150), (None, 250, 250), (0, None, 250), (None, 100, 100)]:
        turn(conversation, peer, client=client, server=server)
        conversation.run(1)
        assert latency_ms(conversation, peer) == pytest.approx(expected, abs=2)
    turn(conversation, peer, server=0)
    conversation.run(1)
    assert latency_ms(conversation, peer) < 30
    changes = [e.latency_us // MS for _, e in conversation.server_events if isinstance(e, LatencyChanged)]
    assert changes == [150, 250, 250, 100, 0]


def test_it_is_told_although_datagrams_are_lost() -> None:
    conversation, peer = begin(loss=0.3)
    conversation.stream(peer, seconds=10)
    turn(conversation, peer, client=200)
    conversation.run(4)
    assert latency_ms(conversation, peer) == pytest.approx(200, abs=2)


def test_who_turns_it_fast_is_heard_in_the_end() -> None:
    conversation, peer = begin()
    conversation.stream(peer, seconds=3)
    for wish in range(1, 301):
        turn(conversation, peer, client=wish)
        conversation.run(0.01)
    conversation.run(1)
    assert peer.state == "connected"
    changes = [e.latency_us // MS for _, e in conversation.server_events if isinstance(e, LatencyChanged)]
    assert changes[-1] == 300
    assert len(changes) < 100  # a round trip each


def test_a_later_session_asks_for_what_was_asked_last() -> None:
    conversation, peer = begin()
    turn(conversation, peer, client=180)
    conversation.run(1)
    conversation.kill_server()
    conversation.run(3)
    conversation.start_server()
    conversation.run(4)
    assert peer.state == "connected"
    conversation.stream(peer, seconds=3)
    conversation.run(1)
    assert latency_ms(conversation, peer) == pytest.approx(180, abs=2)


def test_frames_that_wait_come_out_when_it_is_turned_down() -> None:
    conversation, peer = begin(latency_us=1000 * MS)
    conversation.stream(peer, seconds=2)
    conversation.run(2)
    before = len(conversation.frames_due(peer.endpoint.client_id))
    turn(conversation, peer, server=0)
    conversation.run(0.1)
    due = conversation.frames_due(peer.endpoint.client_id)
    assert before < 35
    assert len(due) == 60
    assert [event.frame.frame_id for _, event in due] == list(range(60))
