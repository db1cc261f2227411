"""What ``server.frames()`` and ``server.events()`` iterate over, and the hubs that fill them.

Each subscriber has a bounded mailbox of its own, so a slow one costs nobody but itself. A subscription ends when its
iterator ends, is closed or is thrown away.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple, Self, TypeVar

from udpconf.app.decoding import StreamDecoder
from udpconf.app.values import ClientInfo, Frame, ServerEvent
from udpconf.frames import ReceivedFrame
from udpconf.limits import SECOND
from udpconf.net.mailbox import BoundedQueue, FairMailbox

T = TypeVar("T")

# A loop may stumble for so many frames of a client before one is lost to it.
_FRAMES_WAITING = 3

# Joins and leaves of every place of a full server, twice over.
_EVENTS_WAITING = 1024


class Feed(Iterator[T], Generic[T]):
    """An iterator over what arrives. Ends after ``timeout`` seconds without anything, or with the server."""

    def __init__(
        self, get: Callable[[float | None], T | None], unsubscribe: Callable[[], None], timeout: float | None
    ) -> None:
        self._get = get
        self._unsubscribe = unsubscribe
        self._timeout = timeout

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        item = self._get(self._timeout)
        if item is None:
            self.close()
            raise StopIteration
        return item

    def close(self) -> None:
        """End the subscription."""
        self._unsubscribe()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # at interpreter exit everything may be gone already
            self._unsubscribe()


class DueFrame(NamedTuple):
    """A frame that waits for somebody to look at it, and what it takes to decode it."""

    client: ClientInfo
    received: ReceivedFrame
    decoder: StreamDecoder

    def decoded(self) -> Frame:
        """In the thread that asked for it."""
        picture = self.decoder.decode(self.received)
        frame_id, encoded, capture_wall_us, received_us, _ = self.received
        return Frame(
            image=picture.image,
            client=self.client,
            frame_id=frame_id,
            capture_us=encoded.capture_us,
            capture_time=capture_wall_us / SECOND,
            received_us=received_us,
            complete=encoded.complete,
            fresh_area=picture.fresh_area,
            coded_size=encoded.coded_size,
        )


class FrameHub:
    """Hands each frame to everybody who listens to its client, clients in turn; who is too slow gets the newest."""

    def __init__(self) -> None:
        self._changing = threading.RLock()  # a Feed may be collected, and unsubscribe, while one subscribes
        # Replaced as a whole, never changed, so that the network thread reads it without a lock.
        self._subscribers: tuple[tuple[FairMailbox[str, DueFrame], str | None], ...] = ()
        self._closed = False

    def subscribe(
        self, client_id: str | None, timeout: float | None, on_decoded: Callable[[Frame], None] | None = None
    ) -> Feed[Frame]:
        box: FairMailbox[str, DueFrame] = FairMailbox(_FRAMES_WAITING)

        def get(wait: float | None) -> Frame | None:
            item = box.get(wait)
            if item is None:
                return None
            frame = item[1].decoded()
            if on_decoded is not None:
                on_decoded(frame)
            return frame

        with self._changing:
            if self._closed:
                box.close()
            else:
                self._subscribers = (*self._subscribers, (box, client_id))
        return Feed(get, lambda: self._remove(box), timeout)

    def publish(self, due: DueFrame) -> None:
        """Leave the frame for everybody who listens to its client. Never blocks."""
        client_id = due.client.id
        for box, wanted_id in self._subscribers:
            if wanted_id is None or wanted_id == client_id:
                box.put(client_id, due)

    def replaced(self, client_id: str) -> int:
        """Frames of a client that a subscriber did not take before the next one came, by the slowest of them."""
        return max((box.dropped(client_id) for box, _ in self._subscribers), default=0)

    def forget(self, client_id: str) -> None:
        """A client left: its last frames are still handed out, its counters go."""
        for box, _ in self._subscribers:
            box.forget(client_id)

    def close(self) -> None:
        with self._changing:
            self._closed = True
            for box, _ in self._subscribers:
                box.close()

    def _remove(self, gone: FairMailbox[str, DueFrame]) -> None:
        with self._changing:
            self._subscribers = tuple(entry for entry in self._subscribers if entry[0] is not gone)


class EventHub:
    """Hands each event to every listener."""

    def __init__(self) -> None:
        self._changing = threading.RLock()
        self._subscribers: tuple[BoundedQueue[ServerEvent], ...] = ()
        self._closed = False

    def subscribe(self, timeout: float | None) -> Feed[ServerEvent]:
        queue: BoundedQueue[ServerEvent] = BoundedQueue(_EVENTS_WAITING)
        with self._changing:
            if self._closed:
                queue.close()
            else:
                self._subscribers = (*self._subscribers, queue)
        return Feed(queue.get, lambda: self._remove(queue), timeout)

    def publish(self, event: ServerEvent) -> None:
        for queue in self._subscribers:
            queue.put(event)

    def close(self, last: Sequence[ServerEvent] = ()) -> None:
        """End every subscription, after these events."""
        with self._changing:
            self._closed = True
            for queue in self._subscribers:
                for event in last:
                    queue.put(event)
                queue.close()

    def _remove(self, gone: BoundedQueue[ServerEvent]) -> None:
        with self._changing:
            self._subscribers = tuple(queue for queue in self._subscribers if queue is not gone)
