"""Rouses a thread that waits for sockets to have something to read."""

import contextlib
import socket


class Wake:
    """A byte through a pair of sockets: one, however often it is asked for before the thread has seen it."""

    def __init__(self) -> None:
        self._asked = False
        self._receive, self._send = socket.socketpair()
        self._receive.setblocking(False)
        self._send.setblocking(False)
        self.fd = self._receive.fileno()

    def ask(self) -> None:
        """From any thread."""
        if not self._asked:
            self._asked = True
            with contextlib.suppress(OSError):  # full: it will wake anyway; closed: nobody listens any more
                self._send.send(b"\0")

    def seen(self) -> None:
        """The thread is awake. To be called before it looks for what it was woken for: what is new then wakes it again."""
        with contextlib.suppress(BlockingIOError):
            self._receive.recv(64)
        self._asked = False

    def close(self) -> None:
        self._receive.close()
        self._send.close()
