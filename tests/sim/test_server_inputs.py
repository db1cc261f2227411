"""What the server makes of its inputs' times: when it is to be called again, and when sound came that waited to be read."""

import pytest

from tests.conversation import Conversation, Peer
from udpconf.emulation.link import LinkConditions
from udpconf.emulation.loss import Bernoulli
from udpconf.limits import MS
from udpconf.proto.events import AudioReceived, ServerEvent
from udpconf.proto.server import ServerEndpoint

WAITED_US = 4 * MS


def talking(conversation: Conversation) -> Peer:
    peer = conversation.join()
    conversation.run(2)
    assert peer.state == "connected", conversation.seed
    conversation.talk(peer, seconds=2)
    return peer


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_never_names_a_time_after_the_next_thing_that_is_due(seed: int) -> None:
    path = LinkConditions(delay_us=20 * MS, jitter_us=5 * MS, loss=Bernoulli(0.1))
    conversation = Conversation(seed=seed, up=path, down=path)
    peers = [conversation.join() for _ in range(3)]
    conversation.run(3)
    for peer in peers[:2]:
        conversation.talk(peer, seconds=3)
    for peer in peers[1:]:
        conversation.stream(peer, seconds=3)
    looks = 0

    def look(way: str, number: int, arrived: bool, data: bytes) -> None:
        nonlocal looks
        server = conversation.server
        assert server is not None
        named_us = server.poll_timeout()
        for client in server._clients.values():
            client.touch()
        anew_us = min(client.poll_timeout() for client in server._clients.values())
        assert named_us is not None
        assert named_us <= anew_us, seed
        looks += 1

    conversation.on_datagram = look
    conversation.at(conversation.now_us + 2_500 * MS, lambda: peers[0].endpoint.close(0))
    conversation.run(4)
    assert looks > 2_000


def test_sound_that_waited_to_be_read_came_when_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    conversation = Conversation()
    peer = talking(conversation)
    handle, came_us = ServerEndpoint.handle_datagram, list[int]()

    def late(server: ServerEndpoint, now_us: int, path: int, address: tuple[str, int], data: bytes) -> None:
        came_us.append(now_us)
        handle(server, now_us + WAITED_US, path, address, data, now_us)

    monkeypatch.setattr(ServerEndpoint, "handle_datagram", late)
    heard: list[AudioReceived] = []

    def told(event: ServerEvent) -> None:
        if isinstance(event, AudioReceived):
            heard.append(event)

    conversation.on_server_event = told
    conversation.run(2)
    assert len(heard) > 150
    assert {event.arrival_us for event in heard} <= set(came_us)
    assert peer.state == "connected"
