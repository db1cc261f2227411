"""Large datagrams on paths that carry them, and on paths that do not, or no longer."""

from tests.conversation import Conversation, Peer
from udpconf.limits import DATAGRAM_DEFAULT_BYTES, DATAGRAM_MAX_BYTES, MS, SECOND
from udpconf.proto.client_config import ClientConfig
from udpconf.wire.frames import SHARD_PAYLOAD_MAX_BYTES, shard_payload_bytes


def connect(conversation: Conversation, config: ClientConfig | None = None) -> Peer:
    peer = conversation.join(config)
    conversation.run(2)
    assert peer.state == "connected", conversation.seed
    return peer


def narrow(conversation: Conversation, largest_bytes: int) -> None:
    """From now on the path swallows what is larger, and says nothing."""
    conversation.tap = lambda _, data: data if len(data) <= largest_bytes else None


def watch_sizes(conversation: Conversation) -> list[int]:
    """The sizes of all datagrams from now on, both ways."""
    sizes: list[int] = []

    def tap(_: str, data: bytes) -> bytes:
        sizes.append(len(data))
        return data

    conversation.tap = tap
    return sizes


def test_video_uses_the_largest_datagrams_that_the_path_carries() -> None:
    conversation = Conversation()
    peer = connect(conversation)
    assert peer.endpoint.segment_max_bytes == SHARD_PAYLOAD_MAX_BYTES
    sizes = watch_sizes(conversation)
    conversation.stream(peer, seconds=1)
    conversation.run(2)
    assert all(event.frame.encoded.complete for _, event in conversation.frames_due(peer.endpoint.client_id))
    stats = peer.endpoint.stats(conversation.now_us + peer.clock_offset_us)
    assert stats.datagram_bytes == DATAGRAM_MAX_BYTES
    assert 1352 < max(sizes) <= DATAGRAM_MAX_BYTES


def test_on_a_narrow_path_nothing_but_probes_is_ever_too_large() -> None:
    conversation = Conversation()
    narrow(conversation, 1300)
    peer = connect(conversation)
    conversation.stream(peer, seconds=5)
    conversation.run(6)
    due = conversation.frames_due(peer.endpoint.client_id)
    assert len(due) == 150
    assert all(event.frame.encoded.complete for _, event in due)
    assert peer.endpoint.segment_max_bytes == shard_payload_bytes(1232)


def test_pictures_come_back_by_themselves_when_the_route_becomes_a_narrow_one() -> None:
    conversation = Conversation()
    peer = connect(conversation)
    conversation.stream(peer, seconds=10)
    conversation.run(1)
    narrow(conversation, 1300)
    changed_us = conversation.now_us
    conversation.run(10)
    whole_us = [
        at
        for at, event in conversation.frames_due(peer.endpoint.client_id)
        if event.frame.encoded.complete and at > changed_us + 100 * MS
    ]
    assert whole_us[0] - changed_us < 5 * SECOND
    assert len(whole_us) > 100


def test_who_sends_no_video_asks_for_no_larger_datagrams() -> None:
    conversation = Conversation()
    sizes = watch_sizes(conversation)
    peer = connect(conversation, ClientConfig("five words make a key", "mic", video=False, null_cipher=True))
    conversation.talk(peer, seconds=1)
    conversation.run(5)
    assert max(sizes) == DATAGRAM_DEFAULT_BYTES  # the HELLO
