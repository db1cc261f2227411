"""A real X server's screen, copied; and what is said when there is none."""

import ctypes
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.loopback.collector import Collector
from tests.loopback.xvfb import SCREEN, Xvfb, running_xvfb
from udpconf.errors import DeviceError
from udpconf.media.sources.screen import ScreenSource, list_screens


@contextmanager
def painter(server: Xvfb) -> Iterator[Callable[[int], None]]:
    """Fills the screen with 0xRRGGBB, as long as it is open: an X server forgets all when its last client leaves."""
    x11 = ctypes.CDLL("libX11.so.6")
    x11.XOpenDisplay.restype = ctypes.c_void_p
    x11.XDefaultRootWindow.restype = ctypes.c_ulong
    connection = ctypes.c_void_p(x11.XOpenDisplay(server.display.encode()))
    root = ctypes.c_ulong(x11.XDefaultRootWindow(connection))

    def paint(colour: int) -> None:
        x11.XSetWindowBackground(connection, root, ctypes.c_ulong(colour))
        x11.XClearWindow(connection, root)
        x11.XSync(connection, 0)

    yield paint
    x11.XCloseDisplay(connection)


def test_the_screen_is_copied_in_its_colours_and_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_xvfb() as server, painter(server) as paint:
        monkeypatch.setenv("DISPLAY", server.display)
        paint(0x102040)
        assert [(screen.number, screen.width, screen.height) for screen in list_screens()] == [(0, *SCREEN)]
        with Collector(ScreenSource(0, 320, 20)) as taken:
            taken.wait_for_pictures(3)
            image = taken.pictures[0][0]
            assert image.shape == (200, 320, 3)
            assert image[5, 5].tolist() == [0x40, 0x20, 0x10]
            paint(0xFF8000)
            taken.wait(lambda: taken.pictures[-1][0][5, 5].tolist() == [0, 0x80, 0xFF])
        times = [capture_us for _, capture_us in taken.pictures]
        assert times == sorted(set(times))
        assert not taken.pieces
        with Collector(ScreenSource()) as taken:
            taken.wait_for_pictures(1)
        assert taken.pictures[0][0].shape == (SCREEN[1], SCREEN[0], 3)


def test_a_screen_that_goes_away_does_not_end_the_stream(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with running_xvfb() as server:
        monkeypatch.setenv("DISPLAY", server.display)
        source = ScreenSource(0, 320, 20)
        with caplog.at_level(logging.WARNING), Collector(source) as taken:
            taken.wait_for_pictures(2)
            server.process.terminate()
            server.process.wait(10)
            taken.wait(lambda: bool(caplog.records))
            with running_xvfb() as again:
                monkeypatch.setenv("DISPLAY", again.display)
                seen = len(taken.pictures)
                taken.wait_for_pictures(seen + 2)
            assert source.error is None
            assert not source.ended.is_set()
    assert "cannot be copied" in caplog.records[0].getMessage()
    assert "screen 0 is back" in [record.getMessage() for record in caplog.records]


def test_without_a_display_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    for call in (list_screens, ScreenSource):
        with pytest.raises(DeviceError, match=r"No screen can be copied.*--test-pattern") as caught:
            call()
        assert str(caught.value).count("DISPLAY") == 1
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    with pytest.raises(DeviceError, match="Wayland"):
        list_screens()
    monkeypatch.setenv("DISPLAY", ":4711")
    with pytest.raises(DeviceError, match="No screen can be copied"):
        list_screens()


def test_a_screen_that_does_not_exist_is_refused_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_xvfb() as server:
        monkeypatch.setenv("DISPLAY", server.display)
        for number in (1, -1):
            with pytest.raises(DeviceError, match=f"There is no screen {number}, but 1, counted from 0"):
                ScreenSource(number)
