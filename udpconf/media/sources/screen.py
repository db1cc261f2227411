"""A screen, copied at a steady rate with mss."""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import mss
import numpy as np

from udpconf.errors import DeviceError
from udpconf.limits import PICTURE_MAX_HEIGHT, PICTURE_MAX_WIDTH, SECOND
from udpconf.media.native import cv2
from udpconf.media.picture import Picture
from udpconf.media.sources.source import OnPicture, OnSound, Source, fitted, monotonic_us

log = logging.getLogger(__name__)

# A screen that is away (locked session, X server restarted, monitor unplugged) is tried again so often.
_RETRY_US = 1 * SECOND


class ScreenInfo(NamedTuple):
    """A monitor that can be copied."""

    number: int  # from 0; what ScreenSource takes as its index
    width: int  # pixels
    height: int


def list_screens() -> list[ScreenInfo]:
    """All monitors, the first is the one that ``--screen`` takes.

    Raises:
        DeviceError: there is no display, or it does not let itself be copied.
    """
    try:
        with _capture() as capture:
            monitors = capture.monitors[1:]  # 0 is all of them together
    except Exception as error:  # mss passes on what the system's library raises
        why = "" if _without_x11() else f" ({error})"  # the advice says it better than the library
        raise DeviceError(f"No screen can be copied{why}. {_advice()}") from error
    return [ScreenInfo(number, one["width"], one["height"]) for number, one in enumerate(monitors)]


class ScreenSource(Source):
    """Pictures of one monitor. Never ends by itself: one that is away is looked for until ``stop``."""

    def __init__(self, index: int = 0, width: int | None = None, fps: float = 30) -> None:
        """Look for the monitor.

        Args:
            index: as ``list_screens`` counts.
            width: pictures that are wider are made this wide, with the same aspect; never more than 3840.
            fps: pictures a second.

        Raises:
            DeviceError: there is no display, or no such monitor.
        """
        super().__init__()
        screens = list_screens()
        if not 0 <= index < len(screens):
            raise DeviceError(f"There is no screen {index}, but {len(screens)}, counted from 0. {_advice()}")
        self._index = index
        self._fps = fps
        shown = screens[index]
        self._width = min(
            width or PICTURE_MAX_WIDTH, PICTURE_MAX_WIDTH, PICTURE_MAX_HEIGHT * shown.width // shown.height
        )
        self.pictures_skipped = 0  # because copying, or the receiver of the last one, took too long

    @property
    def description(self) -> str:
        """For captions and logs."""
        return f"screen {self._index}"

    def _loops(self, on_picture: OnPicture | None, on_sound: OnSound | None) -> Sequence[Callable[[], None]]:
        return [lambda: self._watch(on_picture)] if on_picture is not None else []

    def _watch(self, on_picture: OnPicture) -> None:
        away = False
        while not self._stopping.is_set():
            try:
                # X11 connections belong to the thread that uses them.
                with _capture() as capture:
                    for image, capture_us in self._pictures(capture):
                        if away:
                            away = False
                            log.warning("screen %d is back", self._index)
                        on_picture(image, capture_us)
            except (mss.ScreenShotError, IndexError) as error:
                if not away:
                    away = True
                    log.warning(
                        "screen %d cannot be copied (%s); trying again every second", self._index, error
                    )
                self._wait_until(monotonic_us() + _RETRY_US)

    def _pictures(self, capture: "mss.MSS") -> Iterator[tuple[Picture, int]]:
        start_us = monotonic_us()
        number = 0
        while self._wait_until(start_us + int(number * SECOND / self._fps)):
            capture_us = monotonic_us()
            shot = capture.grab(capture.monitors[1 + self._index])
            bgra = np.frombuffer(shot.raw, np.uint8).reshape(shot.height, shot.width, 4)
            yield (
                fitted(np.asarray(cv2.cvtColor(bgra, cv2.COLOR_BGRA2BGR), np.uint8), self._width),
                capture_us,
            )
            due = int((monotonic_us() - start_us) * self._fps / SECOND)
            self.pictures_skipped += max(0, due - number - 1)
            number = max(number + 1, due)


def _capture() -> "mss.MSS":
    # The mouse pointer is part of what one wants to show; mss draws it on Linux only.
    return mss.MSS(with_cursor=True) if sys.platform.startswith("linux") else mss.MSS()


def _without_x11() -> bool:
    return sys.platform.startswith("linux") and not os.environ.get("DISPLAY")


def _advice() -> str:
    if _without_x11():
        if os.environ.get("WAYLAND_DISPLAY"):
            return "This is a Wayland session without X11; log in to an X11 session, or use --camera or --test-pattern."
        return "DISPLAY is not set, so there is no X11 display here; run it in a desktop session, or use --test-pattern."
    return "`udpconf devices` lists the screens."
