"""The reliable channel for control frames."""

from udpconf.limits import MS
from udpconf.proto.control import ControlReceiver, ControlSender
from udpconf.wire.frames import Control

TIMEOUT_US = 100 * MS


def test_a_lost_frame_is_resent_after_the_timeout_and_then_ever_more_slowly() -> None:
    sender = ControlSender()
    control = sender.send(0, 1, b"hello", TIMEOUT_US)
    assert list(sender.handle_timeout(99 * MS, TIMEOUT_US)) == []
    assert list(sender.handle_timeout(100 * MS, TIMEOUT_US)) == [control]
    assert sender.poll_timeout() == 300 * MS
    assert list(sender.handle_timeout(300 * MS, TIMEOUT_US)) == [control]
    at_us = 0
    for _ in range(5):
        at_us = sender.poll_timeout() or 0
        list(sender.handle_timeout(at_us, TIMEOUT_US))
    assert sender.poll_timeout() == at_us + 1000 * MS


def test_an_acknowledgement_ends_the_repeats() -> None:
    sender = ControlSender()
    sender.send(0, 1, b"a", TIMEOUT_US)
    sender.send(0, 1, b"b", TIMEOUT_US)
    sender.handle_ack(10, 1, TIMEOUT_US)
    assert not sender.idle
    sender.handle_ack(20, 2, TIMEOUT_US)
    assert sender.idle
    assert sender.poll_timeout() is None


def test_an_acknowledgement_of_what_was_never_sent_is_ignored() -> None:
    sender = ControlSender()
    sender.send(0, 1, b"a", TIMEOUT_US)
    sender.handle_ack(10, 7, TIMEOUT_US)
    assert not sender.idle


def test_frames_are_delivered_in_order_and_once() -> None:
    receiver = ControlReceiver()
    first, second, third = (Control(number, 1, b"") for number in range(3))
    assert list(receiver.handle(third)) == []
    assert list(receiver.handle(first)) == [first]
    assert list(receiver.handle(first)) == []
    assert list(receiver.handle(second)) == [second, third]
    assert receiver.next_number == 3


def test_a_frame_far_ahead_takes_no_room() -> None:
    receiver = ControlReceiver()
    for number in range(64, 2000):
        assert list(receiver.handle(Control(number, 1, b""))) == []
    assert len(receiver._early) == 0
