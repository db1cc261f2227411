"""The plain TCP way in the lab loses nothing, however late it is."""

import socket
import threading
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from tools.lab import baseline_tcp
from tools.lab.devices import Camera, Screen
from tools.lab.plan import PORT, Plan

HERE = "127.0.0.77"
PLAN = Plan("tcp", "", "", 2.0, 50, 8000, None, sound=False, sample_every=10)
GREYS = [0, 40, 80, 120]
PATIENCE_S = 20


class Still:
    """A camera that takes a few pictures at once."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, int, int]] = []
        self.pictures = [np.full((48, 64, 3), grey, np.uint8) for grey in GREYS]

    def begin(self) -> None:
        pass

    def __iter__(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        for number, image in enumerate(self.pictures):
            self.taken.append((number, 0, 0))
            yield 0, image


class Slow:
    """A screen that shows nothing before it is told to."""

    def __init__(self) -> None:
        self.greys: list[int] = []
        self.waits, self.go_on = threading.Event(), threading.Event()

    def show(self, image: NDArray[np.uint8], *rest: Any) -> None:
        self.waits.set()
        assert self.go_on.wait(PATIENCE_S)
        self.greys.append(round(float(image.mean())))


def test_the_sender_stays_until_all_of_its_pictures_have_been_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_HERE", HERE)
    monkeypatch.setenv("LAB_PEER", HERE)
    monkeypatch.setattr(baseline_tcp, "_IDLE_S", 0)
    screen, sent = Slow(), threading.Event()
    receiver = threading.Thread(target=baseline_tcp.receive, args=(PLAN, cast("Screen", screen)))
    receiver.start()
    shown_when_the_sender_ended: list[int] = []

    def send() -> None:
        baseline_tcp.send(PLAN, cast("Camera", Still()))
        shown_when_the_sender_ended.extend(screen.greys)
        sent.set()

    sender = threading.Thread(target=send)
    sender.start()
    assert screen.waits.wait(PATIENCE_S)
    assert not sent.wait(0.2)
    screen.go_on.set()
    sender.join(PATIENCE_S)
    receiver.join(PATIENCE_S)
    assert shown_when_the_sender_ended == GREYS


def test_a_connection_that_stands_still_ends_the_run_and_not_the_patience_of_the_lab(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LAB_PEER", HERE)
    monkeypatch.setattr(baseline_tcp, "_DRAIN_PATIENCE_S", 0.2)
    noise = np.random.default_rng(1).integers(0, 256, (1080, 1920, 3), np.uint8)
    camera = Still()
    camera.pictures = [noise] * 100  # 1 MB each, more than the kernel's buffers hold
    with socket.create_server((HERE, PORT)):  # nobody reads
        counters = baseline_tcp.send(PLAN._replace(seconds=0.0), cast("Camera", camera))
    assert 0 < len(counters["sizes"]) < len(camera.pictures)
