"""The scripts under examples/ run as they stand, against a real sender."""

import runpy
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import udpconf
from udpconf.media.native import cv2

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
FRAMES = 8


class Stage:
    """Gives the script a server on a free port, and moving pictures until it has seen enough."""

    def __init__(self) -> None:
        self.server: udpconf.Server | None = None
        self._real = udpconf.Server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def open(self, **settings: Any) -> udpconf.Server:
        self.server = self._real("127.0.0.1", 0, audio_ports=(5556, 5655))
        self._thread.start()
        return self.server

    def _send(self) -> None:
        assert self.server is not None
        picture = np.zeros((240, 320, 3), np.uint8)
        with udpconf.Sender(self.server.url, name="camera") as sender:
            for number in range(100_000):
                picture[:] = 40
                left = 8 * number % 240
                picture[80:160, left : left + 80] = 220
                sender.send_video(picture)
                if self._stop.wait(0.02):
                    return

    def end(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    stage = Stage()
    monkeypatch.setattr(udpconf, "Server", stage.open)
    yield stage
    stage.end()


def test_the_camera_example_prints_what_it_sees(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed: list[str] = []

    def say(line: str, *more: str, flush: bool = False) -> None:
        printed.append(line)
        if len(printed) > FRAMES:
            assert stage.server is not None
            threading.Thread(target=stage.server.close).start()

    runpy.run_path(str(EXAMPLES / "camera_to_numpy.py"), {"print": say})
    assert printed[0].startswith("Send with:")
    assert all(line.startswith("camera frame ") and "320x240" in line for line in printed[1:FRAMES])


def test_the_detector_example_draws_a_box_around_what_moves(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
    monkeypatch.setattr(cv2, "imshow", lambda name, image: shown.append(image.copy()))
    monkeypatch.setattr(cv2, "waitKey", lambda wait_ms: ord("q") if len(shown) == FRAMES else -1)
    runpy.run_path(str(EXAMPLES / "motion_detector.py"))
    green = (shown[-1] == (0, 255, 0)).all(axis=2)
    assert green.sum() > 100
