"""A real window on a real X server: seen on a screenshot, closed by a key, hung and killed without harm."""

import logging
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.loopback.waiting import PATIENCE_S, wait_until
from tests.loopback.xvfb import Xvfb, running_xvfb
from udpconf.media.display import DEFAULT_SIZE, Display, display_available
from udpconf.media.grid import Tile, compose


@pytest.fixture(scope="module")
def shared_screen() -> Iterator[Xvfb]:
    with running_xvfb() as server:
        yield server


@pytest.fixture
def screen(shared_screen: Xvfb, monkeypatch: pytest.MonkeyPatch) -> Xvfb:
    point_at(shared_screen.display, monkeypatch)
    return shared_screen


def point_at(display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


@pytest.fixture
def keys() -> "queue.Queue[str]":
    return queue.Queue()


@pytest.fixture
def display(screen: Xvfb, keys: "queue.Queue[str]") -> Iterator[Display]:
    shown = Display("udpconf test", keys.put)
    yield shown
    shown.close()


@pytest.fixture
def painting(screen: Xvfb, tmp_path: Path) -> Iterator[Display]:
    """A display whose window has painted, for tests that look at the screen.

    On a busy machine the Qt in OpenCV's wheels (5.15.16 and 5.15.19, seen with xtrace) loses the events of some windows
    that are being opened, MapNotify among them: such a window stays black whatever is shown in it, one in ten with
    three programs a core. Nothing can be asked of it from here, so another one is opened.
    """
    for _ in range(8):
        shown = Display("udpconf test", lambda key: None)
        shown.show(canvas((1, 2, 3)))
        deadline_s = time.monotonic() + PATIENCE_S / 8
        while time.monotonic() < deadline_s:
            if tuple(screen.screenshot(tmp_path / "first.png")[100, 100]) == (1, 2, 3):
                yield shown
                shown.close()
                return
        shown.close()
    pytest.fail("no window painted anything")


def wait_for_window(screen: Xvfb, title: str, *, there: bool = True) -> None:
    wait_until(lambda: (screen.find_window(title) is not None) == there, f"window {title!r}: not {there}")


def canvas(colour: tuple[int, int, int], width: int = 640, height: int = 360) -> NDArray[np.uint8]:
    return np.full((height, width, 3), colour, np.uint8)


def show_until_taken(display: Display, image: NDArray[np.uint8]) -> None:
    before = display.shown
    display.show(image)
    wait_until(lambda: display.shown > before, "not shown")


def test_the_grid_is_on_the_screen_as_it_was_composed(
    painting: Display, screen: Xvfb, tmp_path: Path
) -> None:
    colours = [(200, 40, 40), (40, 200, 40), (40, 40, 200)]
    tiles = [Tile(f"cam-{i}", "10.0.0.7:1", canvas(c), 0, 30.0, 0.5, i == 0) for i, c in enumerate(colours)]
    painting.show(compose(tiles, 640, 360))

    def painted() -> bool:
        shot = screen.screenshot(tmp_path / "grid.png")
        return [tuple(shot[y, x]) for x, y in ((160, 90), (480, 90), (160, 270))] == colours

    wait_until(painted, f"see {tmp_path / 'grid.png'}")


def test_keys_reach_the_caller(display: Display, screen: Xvfb, keys: "queue.Queue[str]") -> None:
    show_until_taken(display, canvas((1, 2, 3)))
    wait_for_window(screen, "udpconf test")
    named = {"Tab": "\t", "plus": "+", "minus": "-", "equal": "=", "KP_Add": "+", "KP_Subtract": "-"}
    for key in ("q", "r", "m", "o", "s", "x", "1", "9", *named):
        screen.press("udpconf test", key)
        assert keys.get(timeout=PATIENCE_S) == named.get(key, key)
        assert keys.empty()


def test_arrows_are_not_taken_for_letters(display: Display, screen: Xvfb, keys: "queue.Queue[str]") -> None:
    show_until_taken(display, canvas((1, 2, 3)))
    wait_for_window(screen, "udpconf test")
    for key in ("Left", "Up", "Right", "Down", "m"):
        screen.press("udpconf test", key)
    assert keys.get(timeout=PATIENCE_S) == "m"


def test_f_is_the_windows_own_affair(display: Display, screen: Xvfb, keys: "queue.Queue[str]") -> None:
    """There is no window manager here that would make it large; what can be seen is that nobody else hears of it."""
    show_until_taken(display, canvas((1, 2, 3)))
    wait_for_window(screen, "udpconf test")
    for key in ("f", "f", "z", "r"):
        screen.press("udpconf test", key)
    assert keys.get(timeout=PATIENCE_S) == "r"
    assert display.alive


def test_the_caller_hears_of_a_new_size_and_can_draw_for_it(display: Display, screen: Xvfb) -> None:
    assert display.size == DEFAULT_SIZE
    show_until_taken(display, canvas((1, 2, 3)))
    wait_for_window(screen, "udpconf test")
    window = screen.find_window("udpconf test")
    assert window is not None
    screen.xdotool("windowsize", window, "800", "600")
    wait_until(lambda: display.size == (800, 600), "the size is still the old one")


def test_closing_the_last_window_means_q(display: Display, screen: Xvfb, keys: "queue.Queue[str]") -> None:
    show_until_taken(display, canvas((1, 2, 3)))
    wait_for_window(screen, "udpconf test")
    screen.close_window("udpconf test")
    assert keys.get(timeout=PATIENCE_S) == "q"
    show_until_taken(display, canvas((1, 2, 3)))
    assert screen.find_window("udpconf test") is None


def test_each_client_can_have_a_window_of_its_own(display: Display, screen: Xvfb) -> None:
    for name in ("anna", "bert", "carl"):
        display.show_window(name, f"{name} at 10.0.0.7", canvas((9, 9, 9)))
    for name in ("anna", "bert", "carl"):
        wait_for_window(screen, f"{name} at 10.0.0.7")
    display.close_window("anna")
    wait_for_window(screen, "anna at 10.0.0.7", there=False)
    assert screen.find_window("bert at 10.0.0.7") is not None


def test_two_clients_of_one_name_have_two_windows(display: Display, screen: Xvfb) -> None:
    display.show_window("0123", "anna", canvas((9, 9, 9)))
    display.show_window("4567", "anna", canvas((9, 9, 9)))
    wait_until(lambda: display.shown == 2, "not shown")
    wait_until(lambda: len(screen.xdotool("search", "--onlyvisible", "--name", "^anna$").split()) == 2, "one")


def test_a_client_that_comes_back_gets_its_window_back(display: Display, screen: Xvfb) -> None:
    for _ in range(3):
        display.show_window("anna", "anna", canvas((9, 9, 9)))
        wait_for_window(screen, "anna")
        display.close_window("anna")
        display.show_window("anna", "anna", canvas((8, 8, 8), 320, 180))
        display.close_window("anna")
        wait_for_window(screen, "anna", there=False)
    assert display.alive


def test_canvases_may_change_their_size(display: Display) -> None:
    for width, height in ((640, 360), (1920, 1080), (16, 16), (641, 359)):
        show_until_taken(display, canvas((1, 2, 3), width, height))
    assert display.alive


def test_a_hung_window_never_makes_the_caller_wait(display: Display) -> None:
    """The child is stopped: pictures replace each other in the mailbox, and closing kills it."""
    show_until_taken(display, canvas((1, 2, 3)))
    os.kill(display._child.pid, signal.SIGSTOP)
    for number in range(2000):
        display.show(canvas((number % 256, 0, 0), 64, 36))
        display.show_window(f"client {number % 300}", "x" * 64, canvas((0, 0, 0), 16, 16))
    assert display.skipped > 1000
    assert display.alive
    display.close()
    assert display._child.returncode == -signal.SIGKILL


def test_a_window_that_hung_for_a_while_shows_the_newest_picture(
    painting: Display, screen: Xvfb, tmp_path: Path
) -> None:
    os.kill(painting._child.pid, signal.SIGSTOP)
    for blue in range(200):
        painting.show(canvas((blue, 0, 0)))
    painting.show(canvas((0, 250, 0)))
    os.kill(painting._child.pid, signal.SIGCONT)
    wait_until(
        lambda: tuple(screen.screenshot(tmp_path / "now.png")[100, 100]) == (0, 250, 0), "an old picture"
    )
    assert painting.shown < 10


def test_when_the_x_server_dies_everything_else_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with running_xvfb() as doomed:
        point_at(doomed.display, monkeypatch)
        display = Display("doomed", lambda key: None)
        show_until_taken(display, canvas((1, 2, 3)))
        doomed.process.kill()
        wait_until(lambda: not display.alive, "the window outlived its display")
    display.show(canvas((1, 2, 3)))
    assert display.failure is not None
    assert "Everything else goes on" in display.failure
    assert [record.levelno for record in caplog.records if record.levelno >= logging.WARNING] == [
        logging.WARNING
    ]
    display.close()


def test_a_display_that_cannot_be_reached_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    point_at(":4242", monkeypatch)
    display = Display("nowhere", lambda key: None)
    display.show(canvas((1, 2, 3)))
    wait_until(lambda: not display.alive, "shown on a display that does not exist")
    assert display.failure is not None
    assert "connect to display :4242" in display.failure
    display.close()


def test_without_a_display_nothing_is_tried() -> None:
    available, reason = display_available({})
    assert not available
    assert "DISPLAY" in reason
    assert display_available({"DISPLAY": ":0"}) == (True, "")
    assert display_available({"WAYLAND_DISPLAY": "wayland-0"}) == (True, "")


PARENT = """
import sys, time
import numpy as np
from udpconf.media.display import Display
display = Display("orphan", lambda key: None)
display.show(np.zeros((360, 640, 3), np.uint8))
while not display.shown:
    time.sleep(0.02)
print(display._child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_the_window_goes_with_its_parent_and_not_before(screen: Xvfb, how: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert parent.stdout is not None
    with parent.stdout:
        child = int(parent.stdout.readline())
        # Ctrl-C in a terminal reaches the parent's whole process group: the child must not be in it.
        assert os.getpgid(child) == child
        os.kill(child, signal.SIGINT)
        assert screen.find_window("orphan") is not None
        parent.send_signal(how)
        parent.wait(PATIENCE_S)
    wait_until(lambda: not Path(f"/proc/{child}/exe").exists(), "the window outlived its parent")
    left_behind = f"udpconf-{parent.pid}-*"
    wait_until(lambda: not list(Path("/dev/shm").glob(left_behind)), f"/dev/shm/{left_behind} is left behind")


def test_opencv_and_ffmpeg_live_in_one_process_with_a_window(screen: Xvfb, tmp_path: Path) -> None:
    """``import av`` before ``import cv2`` makes imshow hang; ``udpconf.media.native`` has the order that works."""
    code = (
        "from udpconf.media.native import av, cv2; import numpy as np;"
        "cv2.imshow('together', np.zeros((90, 160, 3), np.uint8)); cv2.waitKey(50); print(av.__version__)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], env=screen.environment, capture_output=True, timeout=30, check=True
    )
    assert finished.stdout.strip()
    assert cv2.__version__
