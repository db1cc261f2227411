"""Subscribers to frames and events, without any network."""

import numpy as np

from udpconf.app.feeds import EventHub, FrameHub
from udpconf.app.values import ClientInfo, ClientJoined, Frame

ANNE = ClientInfo("aaaaaaaaaaaaaaaa", "anne", ("192.0.2.1", 1))
BEN = ClientInfo("bbbbbbbbbbbbbbbb", "ben", ("192.0.2.2", 2))


def frame(client: ClientInfo, frame_id: int) -> Frame:
    image = np.full((2, 2, 3), frame_id, np.uint8)
    return Frame(image, client, frame_id, 0, 0.0, 0, complete=True, fresh_area=1.0, coded_size=10)


def test_a_slow_loop_sees_the_newest_frame_of_each_client_in_turn() -> None:
    hub = FrameHub()
    feed = hub.subscribe(None, 0)
    for number in range(3):
        hub.publish(frame(ANNE, number))
    hub.publish(frame(BEN, 9))
    assert [(seen.client.name, seen.frame_id) for seen in feed] == [("anne", 2), ("ben", 9)]


def test_replaced_frames_are_counted_for_the_client_they_came_from() -> None:
    hub = FrameHub()
    feed = hub.subscribe(None, 0)
    for number in range(3):
        hub.publish(frame(ANNE, number))
    hub.publish(frame(BEN, 9))
    assert (hub.replaced(ANNE.id), hub.replaced(BEN.id)) == (2, 0)
    feed.close()


def test_a_feed_of_one_client_sees_nobody_else() -> None:
    hub = FrameHub()
    feed = hub.subscribe(BEN.id, 0)
    assert hub.wanted(BEN.id)
    assert not hub.wanted(ANNE.id)
    hub.publish(frame(ANNE, 1))
    hub.publish(frame(BEN, 2))
    assert [seen.frame_id for seen in feed] == [2]


def test_each_subscriber_may_draw_on_its_own_image() -> None:
    hub = FrameHub()
    first, second = hub.subscribe(None, 0), hub.subscribe(None, 0)
    hub.publish(frame(ANNE, 7))
    one, two = next(first), next(second)
    one.image[:] = 0
    assert (two.image == 7).all()
    two.image[:] = 1
    assert (one.image == 0).all()


def test_nobody_listens_after_a_feed_has_ended_was_closed_or_thrown_away() -> None:
    hub = FrameHub()
    assert not hub.wanted(ANNE.id)
    ended = hub.subscribe(None, 0)
    assert list(ended) == []
    assert not hub.wanted(ANNE.id)
    closed = hub.subscribe(None, None)
    closed.close()
    assert not hub.wanted(ANNE.id)
    thrown_away = hub.subscribe(None, None)
    assert hub.wanted(ANNE.id)
    del thrown_away
    assert not hub.wanted(ANNE.id)


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
