"""A client that lost its server, in the order of things that seldom happens."""

from tests.conversation import PERFECT, Conversation, Peer
from udpconf.emulation.link import LinkConditions
from udpconf.emulation.loss import Bernoulli
from udpconf.limits import MS, SECOND
from udpconf.proto.client_config import ClientConfig
from udpconf.proto.events import Connected, Disconnected
from udpconf.proto.server_config import ServerConfig
from udpconf.wire.envelope import HEADER_BYTES
from udpconf.wire.frames import PONG
from udpconf.wire.handshake import ACCEPT

SILENT = LinkConditions(delay_us=1 * MS, loss=Bernoulli(1.0))


def set_path(conversation: Conversation, peer: Peer, conditions: LinkConditions) -> None:
    for link in (peer.up, peer.down):
        link.set_conditions(conversation.now_us, conditions)


def test_a_client_whose_place_was_taken_waits_without_a_busy_loop_and_gets_the_next_one() -> None:
    conversation = Conversation(server=ServerConfig("k", max_clients=1, null_cipher=True))
    first = conversation.join(ClientConfig("k", "first", null_cipher=True))
    conversation.run(1)
    set_path(conversation, first, SILENT)
    conversation.run(17)
    second = conversation.join(ClientConfig("k", "second", null_cipher=True))
    conversation.run(1)
    assert (first.state, second.state) == ("reconnecting", "connected")
    set_path(conversation, first, PERFECT)
    conversation.run(10)  # fails in there when a timer spins
    assert first.state == "reconnecting"
    second.endpoint.close(conversation.now_us + second.clock_offset_us)
    conversation.drain(second)
    conversation.run(5)
    assert (first.state, second.state) == ("connected", "closed")


def test_a_new_session_takes_its_audio_port_from_its_own_welcome() -> None:
    conversation = Conversation()
    peer = conversation.join()
    conversation.run(1)
    assert peer.endpoint.audio_port == 5556
    conversation.kill_server()
    conversation.audio_ports = 0
    conversation.start_server()
    accepted_us: list[int] = []

    def tap(direction: str, data: bytes) -> bytes | None:
        """After the ACCEPT nothing comes for 2.1 s, then pongs, and everything else only after 3 s."""
        if direction == "up":
            return data
        since_us = conversation.now_us - accepted_us[0] if accepted_us else 0
        if not accepted_us and data[0] == ACCEPT:
            accepted_us.append(conversation.now_us)
            return data
        if not accepted_us or since_us > 3 * SECOND:
            return data
        return data if since_us > 2.1 * SECOND and data[HEADER_BYTES] == PONG else None

    conversation.tap = tap
    conversation.run(10)
    assert peer.state == "connected"
    assert peer.endpoint.audio_port == 0
    assert [type(event) for _, event in peer.events] == [Connected, Disconnected, Connected]
    conversation.talk(peer, seconds=1)
    conversation.run(2)
    assert len(conversation.sound(peer.endpoint.client_id)) == 100
