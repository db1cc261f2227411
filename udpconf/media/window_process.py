"""The child process that owns the windows; ``display.Display`` starts it and speaks to it.

One JSON object a line each way. Pictures come through shared memory, one region a window, and are answered when they
have been taken, so that the parent never writes into one that is being read.

    parent -> stdin    {"show": window, "title": ..., "memory": name, "width": w, "height": h}   {"close": window}
    stdout -> parent   {"taken": window}   {"key": "q"}   {"size": [w, h], "window": window}

Everything here may hang or abort (Qt aborts the process when it cannot reach the display): that is why it is a process.
It ends when stdin does, that is with its parent, however that one ended.
"""

import json
import os
import queue
import signal
import sys
import threading
import time
from multiprocessing import resource_tracker, shared_memory
from typing import Any, TextIO

import numpy as np

from udpconf.media.native import cv2

# How long the window system's own events (resizing, keys) may wait while no picture comes.
EVENT_INTERVAL_S = 0.010
# The display may be gone when the parent is: closing windows gets so long.
FAREWELL_S = 1.0
FORWARDED_KEYS = "qrmosx+-=\t123456789"
ESCAPE = "\x1b"
# Below this a window is minimised or about to vanish; the parent should not draw for it.
SIZE_MIN_PX = 16

Message = dict[str, Any]

_to_parent: TextIO


class Window:
    """A window and the memory its pictures come through."""

    def __init__(self, identity: str, width: int, height: int) -> None:
        self._identity = identity  # OpenCV's name for it; the title may change and need not be unique
        self._memory: shared_memory.SharedMemory | None = None
        self._title = ""
        self._reported_size = (width, height)
        self.full_screen = False
        # The toolkit's plain window: no tool bar, no right-click menu, and the picture fills it (the parent draws for
        # the size that we report).
        cv2.namedWindow(identity, cv2.WINDOW_NORMAL | cv2.WINDOW_FREERATIO | cv2.WINDOW_GUI_NORMAL)
        cv2.resizeWindow(identity, width, height)

    def show(self, title: str, memory_name: str, width: int, height: int) -> None:
        if title != self._title:
            cv2.setWindowTitle(self._identity, title)
            self._title = title
        if self._memory is None or self._memory.name != memory_name:
            self._release()
            try:
                self._memory = shared_memory.SharedMemory(memory_name)
            except (
                FileNotFoundError
            ):  # the parent has closed this window meanwhile; its message is on the way
                return
        cv2.imshow(self._identity, np.ndarray((height, width, 3), np.uint8, self._memory.buf))

    def toggle_full_screen(self) -> None:
        self.full_screen = not self.full_screen
        state = cv2.WINDOW_FULLSCREEN if self.full_screen else cv2.WINDOW_NORMAL
        cv2.setWindowProperty(self._identity, cv2.WND_PROP_FULLSCREEN, state)

    def closed_by_user(self) -> bool:
        try:
            return cv2.getWindowProperty(self._identity, cv2.WND_PROP_VISIBLE) < 1
        except cv2.error:  # Qt's part of OpenCV packs up with the last window
            return True

    def new_size(self) -> tuple[int, int] | None:
        """Pixels inside the frame, once after each change."""
        _, _, width, height = cv2.getWindowImageRect(self._identity)
        if (width, height) == self._reported_size or min(width, height) < SIZE_MIN_PX:
            return None
        self._reported_size = (width, height)
        return self._reported_size

    def destroy(self, *, closed_by_user: bool = False) -> None:
        if not closed_by_user:
            cv2.destroyWindow(self._identity)
        self._release()

    def _release(self) -> None:
        if self._memory is not None:
            self._memory.close()
            self._memory = None


class Windows:
    """All windows of the parent, and the loop that serves them."""

    def __init__(self) -> None:
        self._inbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._open: dict[str, Window] = {}
        # What the user closed stays closed, though the parent goes on sending pictures for it.
        self._closed_by_user: set[str] = set()

    def run(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()
        while True:
            try:
                message = self._inbox.get(timeout=EVENT_INTERVAL_S)
            except queue.Empty:
                message = {}
            if message is None:
                return
            if "show" in message:
                self._show(message)
            elif "close" in message:
                self._close(message["close"])
            self._serve_events()

    def _read(self) -> None:
        for line in sys.stdin:
            self._inbox.put(json.loads(line))
        self._inbox.put(None)
        time.sleep(FAREWELL_S)
        os._exit(0)

    def _show(self, message: Message) -> None:
        identity, width, height = message["show"], message["width"], message["height"]
        if identity not in self._closed_by_user:
            if identity not in self._open:
                self._open[identity] = Window(identity, width, height)
            self._open[identity].show(message["title"], message["memory"], width, height)
        _report({"taken": identity})

    def _close(self, identity: str) -> None:
        self._closed_by_user.discard(identity)
        window = self._open.pop(identity, None)
        if window is not None:
            window.destroy()

    def _serve_events(self) -> None:
        if not self._open:
            return
        code = cv2.pollKey()
        # The low byte of a key without a character looks like one: the left arrow (0xff51) like Q.
        if code != -1 and code & 0xFF00 == 0:
            self._handle_key(chr(code & 0xFF).lower())
        for identity, window in list(self._open.items()):
            if window.closed_by_user():
                window.destroy(closed_by_user=True)
                del self._open[identity]
                self._closed_by_user.add(identity)
                if not self._open:
                    _report({"key": "q"})
            elif size := window.new_size():
                _report({"size": size, "window": identity})

    def _handle_key(self, key: str) -> None:
        # OpenCV does not say which window had the focus: with one window a client, the first one fills the screen.
        first = next(iter(self._open.values()))
        if key == "f" or (key == ESCAPE and first.full_screen):
            first.toggle_full_screen()
        elif key in FORWARDED_KEYS:
            _report({"key": key})


def _report(message: Message) -> None:
    _to_parent.write(json.dumps(message) + "\n")
    _to_parent.flush()


def _keep_stdout_for_the_parent() -> TextIO:
    """Whatever libraries print goes where their complaints go; the parent reads our messages only."""
    messages = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return messages


def _leave_memory_to_the_parent() -> None:
    """Python before 3.13 deletes shared memory when a process ends that only looked at it (cpython issue 82300)."""
    resource_tracker.register = lambda name, rtype: None


def main() -> None:
    # Ctrl-C reaches the whole terminal; the parent decides when the windows go.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 - POSIX only

        # Qt aborts when the display cannot be reached; that is no reason to leave a core file.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _leave_memory_to_the_parent()
    try:
        Windows().run()
    except BrokenPipeError:  # the parent is gone
        os._exit(0)


if __name__ == "__main__":
    _to_parent = _keep_stdout_for_the_parent()
    main()
