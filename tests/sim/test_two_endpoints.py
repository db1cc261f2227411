"""A client and a server over the emulated link: what arrives, when, and that every packet is accounted for."""

from itertools import pairwise
from statistics import median

import pytest

from tests.conversation import PERFECT, SERVER_START_US, WALL_US, Conversation, Peer
from udpconf.emulation.link import LinkConditions
from udpconf.emulation.loss import Bernoulli
from udpconf.frames import Codec, EncodedFrame, FrameDescription, Segment, Subsampling
from udpconf.limits import MS, SECOND
from udpconf.proto.client_config import ClientConfig
from udpconf.proto.events import ClientJoined, ClientLeft, ClientRefused, Connected, Disconnected, Failed
from udpconf.proto.server_config import ServerConfig
from udpconf.proto.session import Session
from udpconf.wire.frames import Feedback


def connect(conversation: Conversation) -> Peer:
    peer = conversation.join()
    conversation.run(2)
    assert peer.state == "connected", conversation.seed
    return peer


def latencies_us(conversation: Conversation, peer: Peer) -> list[int]:
    due = conversation.frames_due(peer.endpoint.client_id)
    return sorted(at_us - peer.sent_at_us[event.frame.frame_id] for at_us, event in due)


def check_conservation(conversation: Conversation, peer: Peer, frames_sent: int) -> None:
    """Every shard and every frame has exactly one fate."""
    assert conversation.server is not None
    stats = conversation.server.stats(SERVER_START_US + conversation.now_us)[peer.endpoint.client_id]
    client = conversation.server._by_id[peer.endpoint.client_id]
    counters = client.frames.counters
    assert counters.shards_received == (
        counters.shards_used + counters.shards_duplicate + counters.shards_late + counters.shards_refused
    )
    shown = counters.frames_whole + counters.frames_with_holes
    assert shown == len(conversation.frames_due(peer.endpoint.client_id))
    last = conversation.frames_due(peer.endpoint.client_id)[-1][1].frame.frame_id
    first = conversation.frames_due(peer.endpoint.client_id)[0][1].frame.frame_id
    assert shown + counters.frames_skipped == last - first + 1
    assert last < frames_sent
    link = peer.up.counters
    main_channel = stats.packets_received + link.lost + link.dropped_by_queue
    assert main_channel <= link.sent


def test_a_clean_link_delivers_every_frame_whole_a_moment_after_it_was_sent() -> None:
    conversation = Conversation()
    peer = connect(conversation)
    conversation.stream(peer, seconds=5)
    conversation.run(6)
    due = conversation.frames_due(peer.endpoint.client_id)
    assert [event.frame.frame_id for _, event in due] == list(range(150))
    assert all(event.frame.encoded.complete for _, event in due)
    assert latencies_us(conversation, peer)[-1] == 1 * MS
    check_conservation(conversation, peer, 150)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("loss", [0.02, 0.10])
def test_with_loss_every_frame_is_shown_whole_or_with_holes_soon(loss: float, seed: int) -> None:
    link = LinkConditions(delay_us=25 * MS, loss=Bernoulli(loss))
    conversation = Conversation(seed=seed, up=link, down=link)
    peer = connect(conversation)
    conversation.stream(peer, seconds=20)
    conversation.run(21)
    due = conversation.frames_due(peer.endpoint.client_id)
    assert len(due) == 600, (seed, loss)
    fresh = 0.0
    for _, event in due:
        encoded = event.frame.encoded
        fresh += sum(s.interval_count for s in encoded.segments) / encoded.description.interval_count
    assert fresh / 600 > 1 - 1.3 * loss, (seed, loss)
    assert latencies_us(conversation, peer)[int(0.99 * 600)] <= 35 * MS, (seed, loss)
    check_conservation(conversation, peer, 600)


@pytest.mark.parametrize("keep_order", [True, False])
def test_jitter_of_100_ms_costs_delay_but_no_order(keep_order: bool) -> None:
    link = LinkConditions(delay_us=20 * MS, jitter_us=100 * MS, keep_order=keep_order)
    shown, whole = [], []
    for seed in range(5):
        conversation = Conversation(seed=seed, up=link, down=PERFECT)
        peer = connect(conversation)
        conversation.stream(peer, seconds=10)
        conversation.run(11)
        due = conversation.frames_due(peer.endpoint.client_id)
        ids = [event.frame.frame_id for _, event in due]
        assert ids == sorted(set(ids)), seed
        shown.append(len(ids))
        whole.append(sum(event.frame.encoded.complete for _, event in due))
        assert latencies_us(conversation, peer)[-1] <= 160 * MS, seed
        check_conservation(conversation, peer, 300)
    # Where packets overtake each other that much, trains may be taken for a bottleneck's, and some frames are left out.
    assert median(shown) >= 290
    assert median(whole) >= 280


def test_feedback_comes_five_times_a_second_while_there_is_video_and_then_no_more() -> None:
    conversation = Conversation()
    peer = connect(conversation)
    reports: list[int] = []
    take = peer.endpoint._totals.handle_feedback

    def watched(now_us: int, feedback: Feedback, session: Session) -> None:
        reports.append(feedback.frames_whole)
        take(now_us, feedback, session)

    peer.endpoint._totals.handle_feedback = watched  # type: ignore[method-assign]
    conversation.stream(peer, seconds=5)
    conversation.run(10)
    assert 24 <= len(reports) <= 27
    assert reports[-1] == 150


def test_feedback_on_the_sound_of_many_comes_as_often_and_at_few_moments() -> None:
    conversation = Conversation()
    peers = []
    for number in range(8):
        config = ClientConfig("five words make a key", f"voice {number}", video=False, null_cipher=True)
        peers.append(conversation.join(config))
        conversation.run(0.19)  # not together by chance
    reports: list[int] = []

    def watch(peer: Peer) -> None:
        take = peer.endpoint._totals.handle_feedback

        def watched(now_us: int, feedback: Feedback, session: Session) -> None:
            reports.append(conversation.now_us)
            take(now_us, feedback, session)

        peer.endpoint._totals.handle_feedback = watched  # type: ignore[method-assign]

    for peer in peers:
        watch(peer)
        conversation.talk(peer, seconds=12)
    conversation.run(2)
    reports.clear()
    conversation.run(10)
    assert 8 * 48 <= len(reports) <= 8 * 53
    assert len(set(reports)) <= len(reports) / 2


@pytest.mark.parametrize("phase_ms", range(0, 200, 40))
def test_feedback_on_a_frame_that_is_shown_late_does_not_wait_for_the_next_one(phase_ms: int) -> None:
    conversation = Conversation(
        server=ServerConfig("five words make a key", latency_us=150 * MS, null_cipher=True)
    )
    peer = connect(conversation)
    conversation.run(phase_ms / 1000)
    conversation.stream(peer, seconds=5, fps=1)
    for shown in range(1, 6):
        conversation.run(0.4)  # 150 ms until it is shown, 200 ms until the next report is due
        assert peer.endpoint.stats(0).server_frames_whole == shown
        conversation.run(0.6)


def test_captures_are_told_on_the_servers_clock_and_on_the_senders_wall() -> None:
    conversation = Conversation(up=LinkConditions(delay_us=30 * MS), down=LinkConditions(delay_us=30 * MS))
    peer = connect(conversation)
    conversation.stream(peer, seconds=1)
    conversation.run(2)
    for _, event in conversation.frames_due(peer.endpoint.client_id):
        sent_us = peer.sent_at_us[event.frame.frame_id]
        assert abs(event.frame.encoded.capture_us - (SERVER_START_US + sent_us)) <= 1
        assert abs(event.frame.capture_wall_us - (WALL_US + 3600 * SECOND + sent_us)) <= 1


def test_a_latency_asked_for_by_either_side_holds_whole_frames_until_then() -> None:
    server = ServerConfig("five words make a key", latency_us=80 * MS, null_cipher=True)
    conversation = Conversation(server=server)
    peer = conversation.join(
        ClientConfig("five words make a key", "cam", latency_us=150 * MS, null_cipher=True)
    )
    conversation.run(1)
    conversation.stream(peer, seconds=2)
    conversation.run(3)
    assert set(latencies_us(conversation, peer)) <= {150 * MS - 1, 150 * MS, 150 * MS + 1}


def test_sound_arrives_once_each_and_single_losses_are_mended_by_the_copy() -> None:
    link = LinkConditions(delay_us=20 * MS, loss=Bernoulli(0.05))
    conversation = Conversation(up=link)
    peer = connect(conversation)
    conversation.talk(peer, seconds=10)
    conversation.run(11)
    heard = conversation.sound(peer.endpoint.client_id)
    numbers = [event.sequence_number for event in heard]
    assert len(numbers) == len(set(numbers))
    assert len(numbers) >= 990
    for event in heard:
        assert event.data.startswith(f"opus {event.sequence_number}".encode())
    for before, after in pairwise(sorted(heard, key=lambda event: event.sequence_number)):
        steps = after.sequence_number - before.sequence_number
        assert abs(after.capture_us - before.capture_us - steps * 10 * MS) <= 200


def test_each_client_has_an_audio_port_of_its_own_until_the_range_is_used_up() -> None:
    conversation = Conversation(audio_ports=2)
    peers = [conversation.join() for _ in range(3)]
    conversation.run(1)
    assert sorted(peer.endpoint.audio_port or 0 for peer in peers) == [0, 5556, 5557]
    for peer in peers:
        conversation.talk(peer, seconds=1)
    conversation.run(2)
    for peer in peers:
        assert len(conversation.sound(peer.endpoint.client_id)) == 100


def test_a_blocked_audio_port_moves_the_sound_to_the_main_port() -> None:
    conversation = Conversation()
    conversation.tap = lambda direction, data: None if data[0] & 0x10 and data[0] & 0x80 else data
    peer = conversation.join()
    conversation.run(2)
    assert peer.endpoint.audio_port == 0


def test_the_client_comes_back_under_its_id_when_the_server_was_killed_and_started_again() -> None:
    conversation = Conversation()
    peer = connect(conversation)
    first_id = peer.endpoint.client_id
    conversation.kill_server()
    conversation.run(10)
    assert peer.state == "reconnecting"
    conversation.start_server()
    back_at_us = conversation.now_us
    conversation.run(3)
    assert peer.state == "connected"
    assert isinstance(peer.events[-1][1], Connected)
    assert peer.events[-1][0] - back_at_us <= 1.5 * SECOND
    joined = [event for _, event in conversation.server_events if isinstance(event, ClientJoined)]
    assert [event.client_id for event in joined] == [first_id, first_id]
    conversation.stream(peer, seconds=1)
    conversation.run(2)
    assert len(conversation.frames_due(first_id)) == 30


def test_a_path_that_falls_silent_for_five_seconds_heals_by_itself() -> None:
    conversation = Conversation()
    peer = connect(conversation)
    silent = LinkConditions(delay_us=1 * MS, loss=Bernoulli(1.0))
    peer.up.set_conditions(conversation.now_us, silent)
    peer.down.set_conditions(conversation.now_us, silent)
    conversation.run(5)
    assert peer.state == "reconnecting"
    peer.up.set_conditions(conversation.now_us, PERFECT)
    peer.down.set_conditions(conversation.now_us, PERFECT)
    conversation.run(2)
    assert peer.state == "connected"
    assert [type(event) for _, event in peer.events] == [Connected, Disconnected, Connected]
    conversation.stream(peer, seconds=1)
    conversation.run(2)
    assert len(conversation.frames_due(peer.endpoint.client_id)) == 30
    assert conversation.server is not None
    assert len(conversation.server.stats(SERVER_START_US + conversation.now_us)) == 1


def test_a_goodbye_is_heard_by_the_other_side() -> None:
    conversation = Conversation()
    peer = connect(conversation)
    peer.endpoint.close(conversation.now_us + peer.clock_offset_us)
    conversation.drain(peer)
    conversation.run(1)
    assert peer.state == "closed"
    left = [event for _, event in conversation.server_events if isinstance(event, ClientLeft)]
    assert [event.reason for event in left] == ["it said goodbye"]
    assert conversation.server is not None
    assert conversation.server.poll_timeout() is None or not conversation.server.stats(0)


def test_what_was_sent_before_a_goodbye_is_still_shown_when_it_is_due() -> None:
    server = ServerConfig("five words make a key", latency_us=300 * MS, null_cipher=True)
    conversation = Conversation(server=server)
    peer = connect(conversation)
    conversation.stream(peer, seconds=1)
    conversation.run(1)
    peer.endpoint.close(conversation.now_us + peer.clock_offset_us)
    conversation.drain(peer)
    conversation.run(0.1)
    assert not [event for _, event in conversation.server_events if isinstance(event, ClientLeft)]
    conversation.run(1)
    assert len(conversation.frames_due(peer.endpoint.client_id)) == 30
    assert isinstance(conversation.server_events[-2][1], ClientLeft)


def test_a_large_last_frame_leaves_before_the_goodbye() -> None:
    conversation = Conversation()
    peer = connect(conversation)
    now_us = conversation.now_us + peer.clock_offset_us
    rows = tuple(Segment(row, 1, bytes(1100)) for row in range(400))
    description = FrameDescription(Codec.LZ4, 256, 400, 0, Subsampling.S444, 256)
    peer.endpoint.send_frame(now_us, 0, EncodedFrame(description, rows, now_us))
    peer.endpoint.close(now_us)
    conversation.drain(peer)
    conversation.run(1)
    assert peer.state == "closed"
    (due,) = conversation.frames_due(peer.endpoint.client_id)
    assert sum(segment.interval_count for segment in due[1].frame.encoded.segments) >= 100
    assert [event for _, event in conversation.server_events if isinstance(event, ClientLeft)]


def test_a_client_that_falls_silent_is_dropped_after_15_s() -> None:
    conversation = Conversation()
    peer = connect(conversation)
    conversation.clients.remove(peer)
    conversation.run(14)
    assert not [event for _, event in conversation.server_events if isinstance(event, ClientLeft)]
    conversation.run(3)
    assert [event for _, event in conversation.server_events if isinstance(event, ClientLeft)]


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_a_wrong_passphrase_is_refused_and_leaves_nothing_behind(loss: float) -> None:
    link = LinkConditions(delay_us=10 * MS, loss=Bernoulli(loss))
    conversation = Conversation(
        seed=5, up=link, down=link, server=ServerConfig("the right words"), audio_ports=1
    )
    peer = conversation.join(ClientConfig("the wrong words", "stranger"))
    conversation.run(10)
    assert peer.events == [(peer.events[0][0], Failed("refused"))]
    # It came to no session, and that is all that is told of it.
    ((_, told),) = conversation.server_events
    assert told == ClientRefused((peer.address[0], peer.address[1]))


def test_the_real_cipher_carries_a_call_too() -> None:
    link = LinkConditions(delay_us=10 * MS, loss=Bernoulli(0.1), jitter_us=5 * MS, keep_order=False)
    conversation = Conversation(seed=3, up=link, down=link, server=ServerConfig("some words"))
    peer = conversation.join(ClientConfig("some words", "cam"))
    conversation.run(3)
    assert peer.state == "connected"
    conversation.stream(peer, seconds=1)
    conversation.talk(peer, seconds=1)
    conversation.run(2)
    assert len(conversation.frames_due(peer.endpoint.client_id)) == 30
    assert len(conversation.sound(peer.endpoint.client_id)) >= 97


def test_a_full_server_says_so() -> None:
    conversation = Conversation(server=ServerConfig("k", max_clients=1))
    first = conversation.join(ClientConfig("k", "first"))
    conversation.run(1)
    second = conversation.join(ClientConfig("k", "second"))
    conversation.run(6)
    assert first.state == "connected"
    assert [event for _, event in second.events] == [Failed("full")]


def test_the_same_seed_gives_the_same_call() -> None:
    def call() -> list[tuple[int, EncodedFrame]]:
        link = LinkConditions(delay_us=10 * MS, loss=Bernoulli(0.1), jitter_us=20 * MS, keep_order=False)
        conversation = Conversation(seed=9, up=link, down=link)
        peer = connect(conversation)
        conversation.stream(peer, seconds=2)
        conversation.run(3)
        return [(at, event.frame.encoded) for at, event in conversation.frames_due(peer.endpoint.client_id)]

    assert call() == call()


def test_a_picture_that_was_held_for_its_sound_is_shown_as_soon_as_the_sound_is_heard_sooner() -> None:
    conversation = Conversation()
    peer = connect(conversation)
    server, client_id = conversation.server, peer.endpoint.client_id
    assert server is not None
    server.set_audio_delay(SERVER_START_US + conversation.now_us, client_id, 300 * MS)
    conversation.stream(peer, seconds=1, fps=1)
    conversation.run(0.1)
    assert conversation.frames_due(client_id) == []
    let_go_us = conversation.now_us
    server.set_audio_delay(SERVER_START_US + let_go_us, client_id, 100 * MS)
    conversation.run(0.5)
    ((shown_us, _),) = conversation.frames_due(client_id)
    assert shown_us == let_go_us
