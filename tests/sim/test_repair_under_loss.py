"""With a latency to spend, frames are made whole by asking, for fewer bytes than parity would take."""

import pytest

from tests.conversation import Conversation
from tests.pictures import picture_of_rows
from tests.sim.test_two_endpoints import check_conservation, latencies_us
from udpconf.emulation.link import LinkConditions
from udpconf.emulation.loss import loss_model
from udpconf.limits import MS
from udpconf.proto.client_config import ClientConfig
from udpconf.proto.server_config import ServerConfig

SECONDS = 20
FRAMES = SECONDS * 30


@pytest.mark.parametrize(
    ("latency_ms", "one_way_ms", "loss", "burst", "back", "whole", "extra"),
    [
        (150, 1, 0.0, None, 0.0, 1.0, 0.0),
        (150, 25, 0.02, None, 0.0, 0.999, 0.04),
        (150, 40, 0.05, None, 0.0, 0.99, 0.14),
        (250, 40, 0.05, None, 0.0, 0.998, 0.08),
        (150, 30, 0.1, 5, 0.0, 0.97, 0.39),
        (150, 30, 0.1, 5, 0.1, 0.94, 0.39),
        (150, 20, 0.2, None, 0.0, 0.985, 0.39),
        (None, 1, 0.02, None, 0.0, 0.995, 0.13),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_frames_that_are_whole_in_time_and_what_it_costs(
    latency_ms: int | None,
    one_way_ms: int,
    loss: float,
    burst: float | None,
    back: float,
    whole: float,
    extra: float,
    seed: int,
) -> None:
    server = ServerConfig(
        passphrase="five words make a key",
        null_cipher=True,
        latency_us=None if latency_ms is None else latency_ms * MS,
    )
    up = LinkConditions(delay_us=one_way_ms * MS, loss=loss_model(loss, burst))
    down = LinkConditions(delay_us=one_way_ms * MS, loss=loss_model(back, burst if back else None))
    conversation = Conversation(seed=seed, up=up, down=down, server=server)
    ceiling = ClientConfig("five words make a key", "cam", max_bitrate_kbps=8000, null_cipher=True)
    peer = conversation.join(ceiling)
    while peer.state != "connected":
        conversation.run(2)
    conversation.stream(peer, seconds=SECONDS)
    conversation.run(SECONDS + 1)
    client_id = peer.endpoint.client_id
    complete = sum(event.frame.encoded.complete for _, event in conversation.frames_due(client_id))
    assert complete / FRAMES >= whole, seed
    sent = peer.endpoint.stats(0)
    assert sent.parity_shards_sent + sent.repair_shards_sent <= extra * sent.data_shards_sent, seed
    assert conversation.server is not None
    seen = conversation.server.stats(0)[client_id]
    if latency_ms is not None:
        assert latencies_us(conversation, peer)[-1] <= latency_ms * MS
    assert (seen.repairs_asked > 0) == (loss > 0)
    assert sent.repairs_asked <= seen.repairs_asked
    assert seen.shards_repaired <= sent.repair_shards_sent
    if not burst:
        check_conservation(conversation, peer, FRAMES)


@pytest.mark.parametrize("ceiling_kbps", [2000, 4000, 6000, 8000])
@pytest.mark.parametrize("rows", [12, 60, 100])
def test_frames_that_are_paced_are_not_asked_for_while_they_come(ceiling_kbps: int, rows: int) -> None:
    server = ServerConfig(passphrase="five words make a key", null_cipher=True, latency_us=150 * MS)
    way = LinkConditions(delay_us=5 * MS, jitter_us=1 * MS, keep_order=True)
    conversation = Conversation(up=way, down=way, server=server)
    config = ClientConfig("five words make a key", "cam", max_bitrate_kbps=ceiling_kbps, null_cipher=True)
    peer = conversation.join(config)
    conversation.run(2)
    for frame_id in range(75):
        local_us = conversation.now_us + peer.clock_offset_us
        peer.endpoint.send_frame(local_us, frame_id, picture_of_rows(frame_id, local_us, rows))
        conversation.drain(peer)
        conversation.run(1 / 15)
    conversation.run(1)
    assert conversation.server is not None
    (seen,) = conversation.server.stats(0).values()
    assert seen.frames_whole == 75
    assert seen.repairs_asked <= 1  # before the path was known


def test_frames_that_the_sender_left_out_are_not_asked_for() -> None:
    server = ServerConfig(passphrase="five words make a key", null_cipher=True, latency_us=150 * MS)
    conversation = Conversation(server=server)
    peer = conversation.join()
    conversation.run(1)
    for frame_id in range(0, 60, 2):
        local_us = conversation.now_us + peer.clock_offset_us
        peer.endpoint.send_frame(local_us, frame_id, picture_of_rows(frame_id, local_us, 10))
        conversation.drain(peer)
        conversation.run(1 / 15)
    conversation.run(1)
    assert conversation.server is not None
    (seen,) = conversation.server.stats(0).values()
    assert (seen.frames_whole, seen.frames_skipped, seen.repairs_asked) == (30, 29, 0)


def test_the_rates_by_kind_add_up_to_what_is_sent() -> None:
    way = LinkConditions(delay_us=20 * MS, loss=loss_model(0.1))
    conversation = Conversation(up=way, down=way)
    peer = conversation.join(
        ClientConfig("five words make a key", "cam", null_cipher=True, latency_us=150 * MS)
    )
    conversation.stream(peer, seconds=10)
    conversation.talk(peer, seconds=10)
    conversation.run(10)
    rates = peer.endpoint.stats(conversation.now_us + peer.clock_offset_us)
    by_kind = (rates.picture_kbps, rates.parity_kbps, rates.repair_kbps, rates.sound_kbps)
    assert min(rates.picture_kbps, rates.repair_kbps, rates.sound_kbps) > 0
    assert 0.99 * rates.sent_kbps <= sum(by_kind) <= rates.sent_kbps  # pings and control are the rest
