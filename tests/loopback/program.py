"""The real program in a process of its own, with an environment that holds no setting of the developer's."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from typing import Any, Self

# A run that takes longer hangs. The slowest (a dead address) is over after some 11 s.
TIMEOUT_S = 60
EVENT_TIMEOUT_S = 60.0


def clean_environment(**more: str) -> dict[str, str]:
    """The caller's without UDPCONF_*, and without a display unless asked for."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("UDPCONF_") and name not in ("DISPLAY", "WAYLAND_DISPLAY")
    }
    return {**kept, "PYTHONUNBUFFERED": "1", **more}


def run(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``udpconf`` with these arguments to its end; standard input is no terminal."""
    return subprocess.run(
        [sys.executable, "-m", "udpconf", *arguments],
        env=clean_environment(**(environment or {})),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


class Program:
    """``udpconf`` running in the background; ended with SIGKILL if a test forgets to."""

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "udpconf", *arguments],
            env=clean_environment(**(environment or {})),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: deque[str] = deque()
        self._more = threading.Condition()
        self._ended = False
        self.errors: list[str] = []
        self._threads = [
            threading.Thread(target=target, daemon=True) for target in (self._read, self._read_errors)
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def line(self) -> str:
        """The next line of standard output; fails when there is none within the time-out."""
        with self._more:
            assert self._more.wait_for(lambda: self._lines or self._ended, TIMEOUT_S), "no line came"
            assert self._lines, f"ended with {self.process.wait()}: {self.errors}"
            return self._lines.popleft()

    def event(self, name: str) -> dict[str, Any]:
        """The next JSON event of this name; others are passed over."""
        deadline = time.monotonic() + EVENT_TIMEOUT_S
        while True:
            value: dict[str, Any] = json.loads(self.line())
            if value["event"] == name:
                return value
            # The statistics go on for ever: what never comes must fail the test, not hold it up.
            assert time.monotonic() < deadline, f"no {name!r} event; the last was {value}"

    def end(self, number: int) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """The exit code; all output has been read then."""
        code = self.process.wait(TIMEOUT_S)
        for thread in self._threads:
            thread.join()
        print(*self.errors, sep="\n")  # shown where a test fails by the code
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._more:
                self._lines.append(line.rstrip("\n"))
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors.append(line.rstrip("\n"))
