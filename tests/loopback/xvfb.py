"""A real X server without a screen, for tests that open windows, press keys and look at the result."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

SCREEN = (1280, 800)
_CLIENT_MESSAGE = 33  # X.h


class _ClientMessage(ctypes.Structure):
    """XClientMessageEvent of Xlib.h, padded to the size of an XEvent."""

    _fields_: ClassVar = [
        ("type", ctypes.c_int),
        ("serial", ctypes.c_ulong),
        ("send_event", ctypes.c_int),
        ("display", ctypes.c_void_p),
        ("window", ctypes.c_ulong),
        ("message_type", ctypes.c_ulong),
        ("format", ctypes.c_int),
        ("data", ctypes.c_long * 5),
        ("padding", ctypes.c_long * 24),
    ]


class Xvfb:
    """Attributes: ``display`` (":7"), ``environment`` (os.environ that points there), ``process``."""

    def __init__(self) -> None:
        read_end, write_end = os.pipe()
        self.process = subprocess.Popen(
            [
                "Xvfb",
                "-displayfd",
                str(write_end),
                "-screen",
                "0",
                f"{SCREEN[0]}x{SCREEN[1]}x24",
                "-nolisten",
                "tcp",
                # A server that starts anew when its last client leaves turns away whoever connects meanwhile.
                "-noreset",
            ],
            pass_fds=[write_end],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            # The server picks a free number and writes it when it is ready.
            self.display = f":{pipe.readline().strip()}"
        self.environment = {**os.environ, "DISPLAY": self.display}
        self.environment.pop("WAYLAND_DISPLAY", None)

    def xdotool(self, *arguments: str) -> str:
        finished = subprocess.run(
            ["xdotool", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        return finished.stdout.strip()

    def find_window(self, title: str) -> str | None:
        """The X id of the visible window with exactly this title."""
        return next(iter(self.xdotool("search", "--onlyvisible", "--name", f"^{title}$").split()), None)

    def press(self, title: str, key: str) -> None:
        window = self.find_window(title)
        assert window is not None, f"no window {title!r}"
        self.xdotool("windowfocus", "--sync", window)
        self.xdotool("key", "--window", window, key)

    def close_window(self, title: str) -> None:
        """As the cross in the corner does: WM_DELETE_WINDOW, sent to the window (ICCCM 4.2.8.1)."""
        window = self.find_window(title)
        assert window is not None, f"no window {title!r}"
        x11 = ctypes.CDLL("libX11.so.6")
        x11.XOpenDisplay.restype = ctypes.c_void_p
        x11.XInternAtom.restype = ctypes.c_ulong
        connection = ctypes.c_void_p(x11.XOpenDisplay(self.display.encode()))
        event = _ClientMessage(
            type=_CLIENT_MESSAGE,
            window=int(window),
            message_type=x11.XInternAtom(connection, b"WM_PROTOCOLS", False),
            format=32,
            data=(ctypes.c_long * 5)(x11.XInternAtom(connection, b"WM_DELETE_WINDOW", False)),
        )
        x11.XSendEvent(connection, ctypes.c_ulong(int(window)), False, ctypes.c_long(0), ctypes.byref(event))
        x11.XCloseDisplay(connection)

    def screenshot(self, path: Path) -> NDArray[np.uint8]:
        """uint8[h, w, 3] BGR of the whole screen; kept as a PNG at ``path`` as well."""
        dump = subprocess.run(
            ["xwd", "-root", "-silent"], env=self.environment, capture_output=True, timeout=10, check=True
        ).stdout
        header = np.frombuffer(dump, ">u4", 25)
        # X11's XWDFile.h: the header, 12 bytes a colour map entry, then padded rows of BGR or BGRx.
        header_size, width, height, pixel_bits, line_bytes, colours = (
            int(header[at]) for at in (0, 4, 5, 11, 12, 19)
        )
        rows = np.frombuffer(dump, np.uint8, line_bytes * height, header_size + 12 * colours)
        pixel_bytes = pixel_bits // 8
        used = rows.reshape(height, line_bytes)[:, : pixel_bytes * width]
        image = np.ascontiguousarray(used.reshape(height, width, pixel_bytes)[..., :3])
        cv2.imwrite(str(path), image)
        return image

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@contextmanager
def running_xvfb() -> Iterator[Xvfb]:
    server = Xvfb()
    try:
        yield server
    finally:
        server.stop()
