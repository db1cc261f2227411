"""With parity nearly all of the picture is fresh, at a price that follows the loss, and no later than without."""

import pytest

from tests.conversation import Conversation
from tests.sim.test_two_endpoints import check_conservation, connect, latencies_us
from udpconf.emulation.link import LinkConditions
from udpconf.emulation.loss import loss_model
from udpconf.emulation.scenario import of_conditions
from udpconf.limits import MS

SECONDS = 20
FRAMES = SECONDS * 30


@pytest.mark.parametrize(
    ("one_way_ms", "loss", "fresh", "parity"),
    [
        (1, 0.0, 1.0, 0.0),
        (25, 0.02, 0.997, 0.13),
        (40, 0.05, 0.992, 0.19),
        (20, 0.1, 0.98, 0.26),
        (20, 0.2, 0.95, 0.42),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_area_that_loss_leaves_fresh_and_what_it_costs(
    one_way_ms: int, loss: float, fresh: float, parity: float, seed: int
) -> None:
    way = LinkConditions(delay_us=one_way_ms * MS, loss=loss_model(loss))
    conversation = Conversation(seed=seed, up=way, down=way)
    peer = connect(conversation)
    conversation.stream(peer, seconds=SECONDS)
    conversation.run(SECONDS + 1)
    pictures = [event.frame.encoded for _, event in conversation.frames_due(peer.endpoint.client_id)]
    area = sum(
        sum(segment.interval_count for segment in picture.segments) / picture.description.interval_count
        for picture in pictures
    )
    assert area / FRAMES >= fresh, seed
    sent = peer.endpoint.stats(0)
    assert sent.parity_shards_sent <= parity * sent.data_shards_sent, seed
    assert conversation.server is not None
    seen = conversation.server.stats(0)[peer.endpoint.client_id]
    mended = seen.frames_by_parity + seen.frames_by_repair
    assert mended <= seen.frames_whole
    assert (mended > 0) == (loss > 0)
    assert seen.frame_age_p50_ms is not None
    assert seen.frame_age_p50_ms == pytest.approx(one_way_ms, abs=6)
    latencies = latencies_us(conversation, peer)
    assert latencies[int(0.99 * len(latencies))] <= (one_way_ms + 10) * MS, seed
    check_conservation(conversation, peer, FRAMES)


def test_long_bursts_are_known_by_their_gaps_and_little_is_spent_on_them() -> None:
    way = LinkConditions(delay_us=30 * MS, loss=loss_model(0.1, 5))
    conversation = Conversation(up=way)
    peer = connect(conversation)
    conversation.stream(peer, seconds=SECONDS)
    conversation.run(SECONDS + 1)
    sent = peer.endpoint.stats(0)
    assert sent.parity_shards_sent <= 0.25 * sent.data_shards_sent  # a third without bursts
    assert sent.server_loss_share > 0.05
    check_conservation(conversation, peer, FRAMES)


def test_when_loss_begins_parity_follows_within_a_second() -> None:
    conversation = Conversation()
    peer = connect(conversation)
    conversation.stream(peer, seconds=5)
    conversation.run(3)
    assert peer.endpoint.stats(0).parity_shards_sent == 0
    lossy = of_conditions(LinkConditions(loss=loss_model(0.1)), LinkConditions())
    peer.path.set_scenario(conversation.now_us, lossy)
    conversation.run(1)
    assert peer.endpoint.stats(0).parity_shards_sent > 0
