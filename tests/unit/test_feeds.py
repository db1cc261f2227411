"""Subscribers to frames and events, without any network."""

import numpy as np

from udpconf.app.decoding import StreamDecoder
from udpconf.app.feeds import DueFrame, EventHub, FrameHub
from udpconf.app.values import ClientInfo, ClientJoined
from udpconf.frames import ReceivedFrame
from udpconf.media.jpeg import JpegEncoder

ANNE = ClientInfo("aaaaaaaaaaaaaaaa", "anne", ("192.0.2.1", 1))
BEN = ClientInfo("bbbbbbbbbbbbbbbb", "ben", ("192.0.2.2", 2))
DECODERS = {ANNE.id: StreamDecoder(), BEN.id: StreamDecoder()}


def frame(client: ClientInfo, frame_id: int) -> DueFrame:
    encoded = JpegEncoder().encode(np.full((16, 16, 3), frame_id, np.uint8), 90, 0, 1100)
    return DueFrame(client, ReceivedFrame(frame_id, encoded, 0, 0, 0), DECODERS[client.id])


def test_a_loop_that_stumbles_sees_what_it_missed_clients_in_turn() -> None:
    hub = FrameHub()
    feed = hub.subscribe(None, 0)
    for number in range(3):
        hub.publish(frame(ANNE, number))
    hub.publish(frame(BEN, 9))
    seen = [(seen.client.name, seen.frame_id) for seen in feed]
    assert seen == [("anne", 0), ("ben", 9), ("anne", 1), ("anne", 2)]
    assert hub.replaced(ANNE.id) == 0


def test_a_loop_that_is_too_slow_sees_the_newest_and_the_others_are_counted() -> None:
    hub = FrameHub()
    feed = hub.subscribe(None, 0)
    seen = []
    for number in range(0, 30, 3):
        for frame_id in range(number, number + 3):
            hub.publish(frame(ANNE, frame_id))
        seen.append(next(feed).frame_id)
    assert seen == [0, *range(5, 30, 3)]
    assert hub.replaced(ANNE.id) == 30 - len(seen)
    assert hub.replaced(BEN.id) == 0


def test_a_feed_of_one_client_sees_nobody_else() -> None:
    hub = FrameHub()
    feed = hub.subscribe(BEN.id, 0)
    hub.publish(frame(ANNE, 1))
    hub.publish(frame(BEN, 2))
    assert [seen.frame_id for seen in feed] == [2]


def test_each_subscriber_may_draw_on_its_own_image() -> None:
    hub = FrameHub()
    first, second = hub.subscribe(None, 0), hub.subscribe(None, 0)
    hub.publish(frame(ANNE, 7))
    one, two = next(first), next(second)
    one.image[:] = 0
    assert abs(two.image.astype(int) - 7).max() <= 1
    two.image[:] = 1
    assert (one.image == 0).all()


def test_nobody_listens_after_a_feed_has_ended_was_closed_or_thrown_away() -> None:
    hub = FrameHub()
    assert not hub._subscribers
    ended = hub.subscribe(None, 0)
    assert list(ended) == []
    assert not hub._subscribers
    closed = hub.subscribe(None, None)
    closed.close()
    assert not hub._subscribers
    thrown_away = hub.subscribe(None, None)
    assert hub._subscribers
    del thrown_away
    assert not hub._subscribers


def test_a_closed_hub_ends_the_iterations_after_what_is_left() -> None:
    hub = FrameHub()
    feed = hub.subscribe(None, None)
    hub.publish(frame(ANNE, 1))
    hub.close()
    assert [seen.frame_id for seen in feed] == [1]
    assert list(hub.subscribe(None, None)) == []


def test_every_listener_gets_every_event_in_order() -> None:
    hub = EventHub()
    first, second = hub.subscribe(0), hub.subscribe(0)
    told = [ClientJoined(ANNE, rejoined=False), ClientJoined(BEN, rejoined=True)]
    for event in told:
        hub.publish(event)
    assert list(first) == told
    assert list(second) == told
    hub.close()
    assert list(hub.subscribe(None)) == []
