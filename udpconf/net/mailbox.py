"""Bounded hand-over between threads: each mailbox has a size, a policy when full, and a counter of what it dropped.

``put`` never blocks, so the network thread may call it; ``get`` waits. After ``close`` a mailbox refuses new items and
``get`` gives what is left, then None.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
K = TypeVar("K")


class BoundedQueue(Generic[T]):
    """First in, first out; when full the oldest goes. For sound, events and whatever else is worth its order."""

    def __init__(self, capacity: int) -> None:
        # Reentrant: a Feed may be collected, and close it, while one puts.
        self._changed = threading.Condition()
        self._items: deque[T] = deque(maxlen=capacity)
        self._capacity = capacity
        self._closed = False
        self.dropped = 0  # items pushed out before anybody fetched them

    def put(self, item: T) -> bool:
        """Add an item. False if the queue is closed."""
        with self._changed:
            if self._closed:
                return False
            if len(self._items) == self._capacity:
                self.dropped += 1
            self._items.append(item)
            self._changed.notify()
            return True

    def get(self, timeout: float | None = None) -> T | None:
        """Fetch the oldest item, waiting up to ``timeout`` seconds (None: for ever). None: nothing came, or closed."""
        with self._changed:
            _wait_until(self._changed, lambda: bool(self._items) or self._closed, timeout)
            return self._items.popleft() if self._items else None

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class FairMailbox(Generic[K, T]):
    """A few places for each key, keys served in turn: one client's flood costs only that client.

    A reader that stumbles, as on a busy machine, finds all it missed, oldest first, and catches up. For one that is too
    slow the newest counts: when it finds a key's backlog no shorter than the last time, the older items go.
    """

    def __init__(self, capacity_per_key: int) -> None:
        # Reentrant: a Feed may be collected, and close it, while one puts.
        self._changed = threading.Condition()
        self._capacity = capacity_per_key
        self._items: dict[K, deque[T]] = {}
        self._backlog: dict[K, int] = {}  # what the reader found the last time
        self._turns: deque[K] = deque()  # keys that have items, each once, the next to be served first
        self._closed = False
        self._dropped: dict[K, int] = {}

    def put(self, key: K, item: T) -> bool:
        """Add an item. False if the mailbox is closed."""
        with self._changed:
            if self._closed:
                return False
            items = self._items.get(key)
            if items is None:
                items = self._items[key] = deque(maxlen=self._capacity)
                self._turns.append(key)
            elif len(items) == self._capacity:
                self._dropped[key] = self._dropped.get(key, 0) + 1
            items.append(item)
            self._changed.notify()
            return True

    def get(self, timeout: float | None = None) -> tuple[K, T] | None:
        """Fetch an item of the key whose turn it is, waiting up to ``timeout`` seconds (None: for ever)."""
        with self._changed:
            _wait_until(self._changed, lambda: bool(self._turns) or self._closed, timeout)
            if not self._turns:
                return None
            key = self._turns.popleft()
            items = self._items[key]
            backlog = len(items)
            if 1 < self._backlog.get(key, 0) <= backlog:
                self._dropped[key] = self._dropped.get(key, 0) + backlog - 1
                items = self._items[key] = deque((items[-1],), maxlen=self._capacity)
            self._backlog[key] = backlog
            item = items.popleft()
            if items:
                self._turns.append(key)
            else:
                del self._items[key]
            return key, item

    def dropped(self, key: K) -> int:
        """Items of this key that nobody fetched in time."""
        with self._changed:
            return self._dropped.get(key, 0)

    def forget(self, key: K) -> None:
        """Drop what was counted of a key that will not come again; what waits of it is still served."""
        with self._changed:
            self._dropped.pop(key, None)
            self._backlog.pop(key, None)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def _wait_until(changed: threading.Condition, ready: Callable[[], bool], timeout: float | None) -> None:
    """Wait on the condition; like Condition.wait_for, without a clock read when there is something already."""
    if timeout is None:
        while not ready():
            changed.wait()
        return
    deadline = None
    while not ready():
        now = time.monotonic()
        deadline = now + timeout if deadline is None else deadline
        if now >= deadline:
            return
        changed.wait(deadline - now)
