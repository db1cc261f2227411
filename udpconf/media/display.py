"""Windows in a process of their own: whatever hangs or dies there, the callers here never wait.

A window toolkit wants the main thread, blocks while a window is dragged on some systems, and aborts the whole process
when the display is gone. So ``window_process`` does the showing; this side leaves the newest picture of each window in a
mailbox, from which one thread copies to shared memory when the child has taken the one before.
"""

import json
import logging
import os
import secrets
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

import numpy as np

from udpconf.errors import PIP
from udpconf.media.native import cv2
from udpconf.media.picture import Picture

# The one window of the grid layout.
GRID = "grid"
DEFAULT_SIZE = (1280, 720)
# A child that is asked to go closes its windows in some 50 ms; a hung one is killed after this.
CLOSE_TIMEOUT_S = 0.5
# The child's last words, kept for the sentence that says why it died.
STDERR_LINES = 20

_PACKAGE_ROOT = str(Path(__file__).parents[2])
_log = logging.getLogger(__name__)


def display_available(environment: Mapping[str, str] = os.environ) -> tuple[bool, str]:
    """Whether a window could be shown, without trying (trying aborts the process), and if not, why, as a sentence."""
    if not cv2.currentUIFramework():
        return False, (
            "This OpenCV was built without windows (opencv-python-headless?). To see pictures: "
            f"{PIP} uninstall opencv-python-headless; {PIP} install --force-reinstall opencv-python"
        )
    if sys.platform.startswith("linux") and not (
        environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")
    ):
        return False, (
            "There is no display (neither DISPLAY nor WAYLAND_DISPLAY is set). Start it from a desktop session, or "
            "over ssh with -X."
        )
    return True, ""


class Display:
    """Shows pictures in windows and reports keys.

    All methods may be called from any thread and return at once. After the child has died (closed display, crash) they
    do nothing; ``failure`` says why and a line is logged once.

    Args:
        title: of the window of ``show()``.
        on_key: called on a thread of this object with "q" (also when the last window was closed) or another of
            window_process.FORWARDED_KEYS.

    Attributes:
        failure: a sentence once the windows are gone though nobody asked for it, else None.
        shown: pictures that the child has taken.
        skipped: pictures that a newer one replaced before the child was ready.
    """

    def __init__(self, title: str, on_key: Callable[[str], None]) -> None:
        self.failure: str | None = None
        self.shown = 0
        self.skipped = 0
        self._title = title
        self._on_key = on_key
        self._wakeup = threading.Condition()
        # All below is guarded by _wakeup. The mailbox: a newer picture of a window takes the place of an older one.
        self._pending: dict[str, tuple[str, Picture]] = {}
        self._to_close: set[str] = set()
        self._taken: dict[str, bool] = {}  # whether the child has taken the last picture of a window
        self._sizes: dict[str, tuple[int, int]] = {}
        self._closing = False
        self._stderr_tail: deque[str] = deque(maxlen=STDERR_LINES)
        self._child = subprocess.Popen(
            [sys.executable, "-m", "udpconf.media.window_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=_child_environment(),
            # A process group of its own: Ctrl-C in the terminal is for the parent.
            start_new_session=sys.platform != "win32",
        )
        self._threads = [
            threading.Thread(target=target, name=f"display {name}", daemon=True)
            for name, target in (
                ("write", self._write),
                ("read", self._read),
                ("stderr", self._read_stderr),
            )
        ]
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        """The child runs. It may still be starting (some 0.5 s); pictures shown meanwhile wait for it."""
        return self.failure is None and not self._closing

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the window of ``show()`` in pixels: a canvas of this size is shown without scaling."""
        return self.window_size(GRID)

    def window_size(self, window_id: str) -> tuple[int, int]:
        """As ``size`` for a window of ``show_window()``."""
        with self._wakeup:
            return self._sizes.get(window_id, DEFAULT_SIZE)

    def show(self, canvas: Picture) -> None:
        """Shows uint8[h, w, 3] BGR in the one window. The canvas belongs to the display from now on."""
        self.show_window(GRID, self._title, canvas)

    def show_window(self, window_id: str, title: str, canvas: Picture) -> None:
        """Shows uint8[h, w, 3] BGR in a window of its own, which opens with the first picture."""
        with self._wakeup:
            if not self.alive:
                return
            self.skipped += window_id in self._pending
            self._pending[window_id] = (title, canvas)
            self._to_close.discard(window_id)
            self._wakeup.notify()

    def close_window(self, window_id: str) -> None:
        """Removes a window of ``show_window()``, for a client that has left."""
        with self._wakeup:
            self._pending.pop(window_id, None)
            self._sizes.pop(window_id, None)
            self._to_close.add(window_id)
            self._wakeup.notify()

    def close(self) -> None:
        """Closes all windows and ends the child; a hung one is killed. Takes half a second at most."""
        with self._wakeup:
            self._closing = True
            self._wakeup.notify()
        try:
            # The writer closes stdin, which is what the child ends by.
            self._child.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(CLOSE_TIMEOUT_S)

    def _write(self) -> None:
        """The thread that may wait for the child: copies the newest pictures and announces them."""
        memories: dict[str, shared_memory.SharedMemory] = {}
        stdin = self._child.stdin
        assert stdin is not None
        try:
            while True:
                with self._wakeup:
                    self._wakeup.wait_for(self._has_work)
                    if not self.alive:
                        return
                    to_close, self._to_close = self._to_close, set()
                    for window_id in to_close:
                        self._taken.pop(window_id, None)
                    ready = [window_id for window_id in self._pending if self._taken.get(window_id, True)]
                    pictures = {window_id: self._pending.pop(window_id) for window_id in ready}
                    self._taken.update(dict.fromkeys(ready, False))
                for window_id in to_close:
                    _release(memories.pop(window_id, None))
                    stdin.write(json.dumps({"close": window_id}) + "\n")
                for window_id, (title, canvas) in pictures.items():
                    memory = memories.get(window_id)
                    if memory is None or memory.size < canvas.nbytes:
                        _release(memory)
                        memory = _new_memory(canvas.nbytes)
                        memories[window_id] = memory
                    np.copyto(np.ndarray(canvas.shape, np.uint8, memory.buf), canvas)
                    height, width = canvas.shape[:2]
                    message = {"show": window_id, "title": title, "memory": memory.name}
                    stdin.write(json.dumps(message | {"width": width, "height": height}) + "\n")
                stdin.flush()
        except OSError:  # the child is gone; the reader says why
            return
        finally:
            try:
                stdin.close()
            except OSError:
                _log.debug("the window process went while it was spoken to")
            for memory in memories.values():
                _release(memory)

    def _has_work(self) -> bool:
        showable = any(self._taken.get(window_id, True) for window_id in self._pending)
        return not self.alive or bool(self._to_close) or showable

    def _read(self) -> None:
        stdout = self._child.stdout
        assert stdout is not None
        with stdout:
            for line in stdout:
                self._handle_message(json.loads(line))
        status = self._child.wait()
        self._threads[2].join(CLOSE_TIMEOUT_S)
        with self._wakeup:
            if not self._closing:
                self.failure = self._describe_death(status)
                _log.warning("%s", self.failure)
            self._wakeup.notify()

    def _handle_message(self, message: dict[str, Any]) -> None:
        if "taken" in message:
            with self._wakeup:
                self.shown += 1
                # A window that was closed meanwhile starts anew with its next picture.
                if message["taken"] in self._taken:
                    self._taken[message["taken"]] = True
                self._wakeup.notify()
        elif "size" in message:
            width, height = message["size"]
            with self._wakeup:
                self._sizes[message["window"]] = (width, height)
        elif "key" in message:
            try:
                self._on_key(message["key"])
            except Exception as error:  # noqa: BLE001 - the caller's fault must not end the thread that keeps the windows going
                _log.warning("A key press was not handled: %s", error)

    def _read_stderr(self) -> None:
        stderr = self._child.stderr
        assert stderr is not None
        with stderr:
            for line in stderr:
                if line.strip():
                    self._stderr_tail.append(line.strip())
                    _log.debug("window process: %s", line.rstrip())

    def _describe_death(self, status: int) -> str:
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        said = next((line for line in self._stderr_tail if "display" in line.lower()), None)
        why = f" ({said})" if said else ""
        return f"The window is gone: its process ended {how}{why}. Everything else goes on without pictures on screen."


def _child_environment() -> dict[str, str]:
    """The child finds this package where we found it, installed or not, and Qt says why it fails: we listen."""
    path = os.pathsep.join(filter(None, (_PACKAGE_ROOT, os.environ.get("PYTHONPATH"))))
    return os.environ | {"PYTHONPATH": path, "QT_LOGGING_RULES": ""}


def _new_memory(size: int) -> shared_memory.SharedMemory:
    """Deleted by us, or by Python's resource tracker if we are killed; whose it was shows in its name."""
    name = f"udpconf-{os.getpid()}-{secrets.token_hex(4)}"
    return shared_memory.SharedMemory(name, create=True, size=size)


def _release(memory: shared_memory.SharedMemory | None) -> None:
    if memory is not None:
        memory.close()
        memory.unlink()
