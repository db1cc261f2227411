"""Decode threads: a client's frames in order on one thread, many clients side by side.

network thread ─[per client, newest 3]─► decode thread ─► deliver(client id, frame, picture)
"""

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable

import numpy as np

from udpconf.frames import ReceivedFrame
from udpconf.media.decode import DecodedPicture, FrameDecoder
from udpconf.net.mailbox import FairMailbox

log = logging.getLogger("udpconf.app")

# JPEG decoding releases the GIL, so threads help up to the number of cores; the rest of the program wants some too.
_THREADS_MAX = 4
# Two frames may arrive in one go when the network hiccups; more waiting means that this machine is too slow, and then
# the newest counts.
_WAITING_FRAMES = 3
_JOIN_S = 2.0
# glibc returns freed memory to the system above a threshold that it learns from the largest block freed so far. With
# pictures of 640x360 that meant 220 page faults for each (0.25 of 2.4 ms of decoding). Freeing one block of this size,
# untouched, teaches it to keep what 1080p needs, as one larger picture would have done anyway.
_LESSON_BYTES = 8 << 20

Deliver = Callable[[str, ReceivedFrame, DecodedPicture], None]


class DecodePool:
    """Owns the decoders. ``submit`` and ``forget`` are for one thread, the network thread; ``deliver`` runs in ours."""

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._workers: list[_Worker] = []
        self._worker_of: dict[str, _Worker] = {}
        self._closed = False
        np.empty(_LESSON_BYTES, np.uint8)

    def submit(self, client_id: str, frame: ReceivedFrame) -> None:
        """Have a frame decoded. Never blocks."""
        worker = self._worker_of.get(client_id)
        if worker is None:
            if self._closed:
                return
            worker = self._worker_of[client_id] = self._least_busy()
        worker.box.put(client_id, frame)

    def forget(self, client_id: str) -> None:
        """Free a client's decoder; what waits of it is dropped."""
        worker = self._worker_of.pop(client_id, None)
        if worker is not None:
            worker.box.forget(client_id)
            worker.box.put(client_id, None)

    def counts(self, client_id: str) -> tuple[int, int]:
        """Frames decoded, and frames replaced by newer ones before a thread was free. Any thread may ask."""
        worker = self._worker_of.get(client_id)
        return (worker.decoded[client_id], worker.box.dropped(client_id)) if worker is not None else (0, 0)

    def close(self) -> None:
        """End the threads. The network thread has ended before."""
        self._closed = True
        for worker in self._workers:
            worker.box.close()
        for worker in self._workers:
            worker.thread.join(_JOIN_S)

    def _least_busy(self) -> "_Worker":
        """Threads are made when clients come: a server that only records has none."""
        if len(self._workers) < min(_THREADS_MAX, os.cpu_count() or 1, len(self._worker_of) + 1):
            self._workers.append(_Worker(self._deliver, f"udpconf decode {len(self._workers)}"))
        loads = Counter(self._worker_of.values())
        return min(self._workers, key=lambda worker: loads[worker])


class _Worker:
    """One thread and the decoders of its clients."""

    def __init__(self, deliver: Deliver, name: str) -> None:
        self.box: FairMailbox[str, ReceivedFrame | None] = FairMailbox(
            _WAITING_FRAMES
        )  # None: the client left
        self.decoded: Counter[str] = Counter()
        self._deliver = deliver
        self._decoders: dict[str, FrameDecoder] = {}
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while (item := self.box.get()) is not None:
            client_id, frame = item
            if frame is None:
                self._decoders.pop(client_id, None)
                del self.decoded[client_id]
                continue
            decoder = self._decoders.get(client_id)
            if decoder is None:
                decoder = self._decoders[client_id] = FrameDecoder()
            picture = decoder.decode(frame.encoded)
            self.decoded[client_id] += 1
            try:
                self._deliver(client_id, frame, picture)
            except Exception:
                log.exception("a decoded frame could not be handed on; it goes on with the next")
