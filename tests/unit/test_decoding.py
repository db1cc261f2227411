"""Decode threads keep each client's order, drop only what is too much, and survive what goes wrong behind them."""

import logging
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from udpconf.app.decoding import DecodePool
from udpconf.frames import ReceivedFrame
from udpconf.media.decode import DecodedPicture
from udpconf.media.jpeg import JpegEncoder


def received(frame_id: int) -> ReceivedFrame:
    image = np.full((16, 16, 3), frame_id, np.uint8)
    return ReceivedFrame(frame_id, JpegEncoder().encode(image, 90, 0, 1100), 0, 0, 0)


class Gate:
    """Collects what is delivered, once it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Event()
        self.delivered: list[tuple[str, int, int]] = []
        self.pool = DecodePool(self.deliver)

    def deliver(self, client_id: str, frame: ReceivedFrame, picture: DecodedPicture) -> None:
        self.entered.set()
        assert self.open.wait(10)
        if client_id == "trouble":
            raise RuntimeError("nobody wants this frame")
        self.delivered.append((client_id, frame.frame_id, int(picture.image[8, 8, 0])))


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()
    gate.pool.close()


def test_frames_of_a_client_come_out_decoded_and_in_order(gate: Gate) -> None:
    gate.open.set()
    for frame_id in range(3):
        gate.pool.submit("anne", received(frame_id))
    gate.pool.close()
    assert gate.delivered == [("anne", 0, 0), ("anne", 1, 1), ("anne", 2, 2)]
    assert gate.pool.counts("anne") == (3, 0)


def test_when_too_many_wait_the_oldest_go_and_are_counted(gate: Gate) -> None:
    gate.pool.submit("anne", received(0))
    assert gate.entered.wait(10)
    for frame_id in range(1, 6):
        gate.pool.submit("anne", received(frame_id))
    gate.open.set()
    gate.pool.close()
    assert [frame_id for _, frame_id, _ in gate.delivered] == [0, 3, 4, 5]
    assert gate.pool.counts("anne") == (4, 2)


def test_a_client_that_left_is_forgotten_with_what_waits_of_it(gate: Gate) -> None:
    gate.pool.submit("anne", received(0))
    assert gate.entered.wait(10)
    gate.pool.submit("anne", received(1))
    gate.pool.forget("anne")
    gate.pool.forget("nobody")
    gate.open.set()
    gate.pool.close()
    assert [frame_id for _, frame_id, _ in gate.delivered] == [0]
    assert gate.pool.counts("anne") == (0, 0)


def test_an_error_behind_the_decoder_is_logged_and_the_next_frame_comes(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    gate.open.set()
    with caplog.at_level(logging.ERROR, "udpconf.app"):
        gate.pool.submit("trouble", received(0))
        gate.pool.submit("anne", received(1))
        gate.pool.close()
    assert [client_id for client_id, _, _ in gate.delivered] == ["anne"]
    assert "nobody wants this frame" in caplog.text


def test_nothing_is_taken_after_closing(gate: Gate) -> None:
    gate.pool.close()
    gate.pool.submit("anne", received(0))
    assert gate.delivered == []
