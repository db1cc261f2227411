"""Recording in a thread of its own: whatever the disk does, nobody else waits for it and no stream ends with it.

The callers (the network thread among them) leave frames and sound in one queue, counted in bytes. When the disk cannot
keep up, the oldest pictures in it are left out, never sound and never orders; the recording then has a gap in its times.
"""

import logging
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVarTuple

from udpconf.frames import OpusFrame, ReceivedFrame
from udpconf.limits import RECORDER_FILE_US, RECORDER_QUEUE_BYTES, RECORDER_RESERVE_BYTES, SECOND
from udpconf.media.recording_file import disk_full, prepare_directory
from udpconf.media.recording_series import (
    RecordedClient,
    RecordingEnded,
    RecordingEvent,
    RecordingSeries,
    RecordingStarted,
)

__all__ = ["Recorder", "RecordingEnded", "RecordingEvent", "RecordingStarted"]

# What an object in the queue costs besides the compressed bytes: some 150 B for a piece of sound (sys.getsizeof of its
# parts), more for a frame, whose segments are some twenty objects.
SOUND_OVERHEAD_BYTES = 200
FRAME_OVERHEAD_BYTES = 4000
# How often the free space of the disk is looked at, among other things. At 100 MB/s the reserve lasts five times as long.
LOOK_AROUND_US = 1 * SECOND
# stop() returns after this at the latest; half of it is for what waits in the queue, the rest for closing the files.
STOP_TIMEOUT_US = 2 * SECOND

_Arguments = TypeVarTuple("_Arguments")
_log = logging.getLogger(__name__)


class _Open(NamedTuple):
    client: RecordedClient


class _Close(NamedTuple):
    client_id: str
    reason: str


class _Media:
    """A frame or a piece of sound in the queue; ``content`` is taken out when there is no room."""

    __slots__ = ("client_id", "content", "cost")

    def __init__(self, client_id: str, content: ReceivedFrame | OpusFrame, cost: int) -> None:
        self.client_id = client_id
        self.content: ReceivedFrame | OpusFrame | None = content
        self.cost = cost


class Recorder:
    """Records any number of clients, a series of Matroska files each.

    All methods may be called from any thread, return at once (``stop`` within 2 s) and raise nothing.

    Args:
        directory: made if it does not exist.
        on_event: called on the recorder's thread with a RecordingStarted for each new file and a RecordingEnded for
            each that is complete; after an error (a full disk, say) no RecordingStarted follows until ``open`` is called
            again.
        file_us: after so long a new file is started, microseconds.
        reserve_bytes: of the disk, kept free.

    Attributes:
        frames_left_out: pictures that the disk was too slow for.
        sound_left_out: the same for sound, which is left out last.

    Raises:
        ConfigError: the directory cannot be written to, or its disk is nearly full.
    """

    def __init__(
        self,
        directory: Path,
        on_event: Callable[[RecordingEvent], None],
        *,
        file_us: int = RECORDER_FILE_US,
        reserve_bytes: int = RECORDER_RESERVE_BYTES,
    ) -> None:
        prepare_directory(directory, reserve_bytes)
        self.frames_left_out = 0
        self.sound_left_out = 0
        self._directory = directory
        self._on_event = on_event
        self._file_us = file_us
        self._reserve_bytes = reserve_bytes
        self._wakeup = threading.Condition()
        # Guarded by _wakeup. Pictures are in both queues, so that the oldest is found at once.
        self._queue: deque[_Open | _Close | _Media] = deque()
        self._pictures: deque[_Media] = deque()
        self._queued_bytes = 0
        self._stop_at_us: int | None = None
        # Belongs to the thread.
        self._series: dict[str, RecordingSeries] = {}
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def open(
        self, client_id: str, name: str, *, address: str = "", video: bool = True, audio: bool = True
    ) -> None:
        """Begins a series for a client; its first file is made when there is something to write.

        Args:
            client_id: hex digits; the first 8 become part of the names.
            name: any text; a trace of it becomes part of the names, all of it the file's title.
            address: goes into the file's tags.
            video: whether pictures are to be expected; the first file waits up to a second for what is.
            audio: the same for sound.
        """
        self._order(_Open(RecordedClient(client_id, name, address, video, audio)))

    def write_video(self, client_id: str, frame: ReceivedFrame) -> None:
        """A frame as it was shown, holes included. Ignored for a client that is not open."""
        self._put(_Media(client_id, frame, frame.encoded.coded_size + FRAME_OVERHEAD_BYTES))

    def write_audio(self, client_id: str, sound: OpusFrame) -> None:
        """A piece of sound; without data it was lost and leaves a gap. Ignored for a client that is not open."""
        if sound.data is not None:
            self._put(_Media(client_id, sound, len(sound.data) + SOUND_OVERHEAD_BYTES))

    def close(self, client_id: str, reason: str = "The client left.") -> None:
        """Completes a client's file after what waits in the queue; ``reason`` is for the RecordingEnded event."""
        self._order(_Close(client_id, reason))

    def stop(self) -> None:
        """Completes all files. Frames that the disk does not take within a second are left out."""
        with self._wakeup:
            self._stop_at_us = self._stop_at_us or _now_us() + STOP_TIMEOUT_US
            self._wakeup.notify()
            remaining_us = max(0, self._stop_at_us - _now_us())
        if threading.current_thread() is not self._thread:
            self._thread.join(remaining_us / SECOND)

    def _order(self, order: _Open | _Close) -> None:
        with self._wakeup:
            self._queue.append(order)
            self._wakeup.notify()

    def _put(self, media: _Media) -> None:
        with self._wakeup:
            if self._stop_at_us is not None:
                return
            while self._pictures and self._queued_bytes + media.cost > RECORDER_QUEUE_BYTES:
                oldest = self._pictures.popleft()
                oldest.content = None
                self._queued_bytes -= oldest.cost
                self._count_left_out(picture=True)
            picture = isinstance(media.content, ReceivedFrame)
            if self._queued_bytes + media.cost > RECORDER_QUEUE_BYTES:
                self._count_left_out(picture=picture)
                return
            self._queue.append(media)
            self._queued_bytes += media.cost
            if picture:
                self._pictures.append(media)
            self._wakeup.notify()

    def _count_left_out(self, *, picture: bool) -> None:
        if self.frames_left_out + self.sound_left_out == 0:
            _log.warning(
                "The disk of %s is too slow for the streams: the recordings have gaps from now on. "
                "Record to a faster disk, or with a lower --max-bitrate-kbps at the senders.",
                self._directory,
            )
        if picture:
            self.frames_left_out += 1
        else:
            self.sound_left_out += 1

    def _run(self) -> None:
        looked_around_us = _now_us()
        while True:
            item, stopping = self._take()
            now_us = _now_us()
            if isinstance(item, _Open):
                self._open_series(item.client)
            elif isinstance(item, _Close):
                self._close_series(item.client_id, item.reason)
            elif item is not None:
                if item.content is not None and item.client_id in self._series:
                    self._guarded(item.client_id, self._series[item.client_id].add, item.content, now_us)
            elif stopping:
                break
            if now_us - looked_around_us >= LOOK_AROUND_US:
                looked_around_us = now_us
                self._look_around(now_us)
        for client_id in list(self._series):
            self._close_series(client_id, "The recording was stopped.")

    def _take(self) -> tuple[_Open | _Close | _Media | None, bool]:
        """The next item (None after a while without any), and whether this is the end."""
        with self._wakeup:
            if not self._queue and self._stop_at_us is None:
                self._wakeup.wait(LOOK_AROUND_US / SECOND)
            stopping = self._stop_at_us is not None
            if self._stop_at_us is not None and _now_us() > self._stop_at_us - STOP_TIMEOUT_US // 2:
                self.frames_left_out += len(self._pictures)
                self._queue.clear()
                self._pictures.clear()
            if not self._queue:
                return None, stopping
            item = self._queue.popleft()
            if isinstance(item, _Media) and item.content is not None:
                self._queued_bytes -= item.cost
                if isinstance(item.content, ReceivedFrame):
                    self._pictures.popleft()
            return item, stopping

    def _open_series(self, client: RecordedClient) -> None:
        self._close_series(client.client_id, "The client came back.")
        self._series[client.client_id] = RecordingSeries(
            self._directory, client, self._tell, file_us=self._file_us, reserve_bytes=self._reserve_bytes
        )

    def _close_series(self, client_id: str, reason: str) -> None:
        series = self._series.get(client_id)
        if series is not None:
            self._guarded(client_id, series.close, reason)
            self._series.pop(client_id, None)
            if series.left_out:
                _log.info("%d frames of client %s did not fit into any file.", series.left_out, client_id)

    def _look_around(self, now_us: int) -> None:
        """Once a second: files whose second kind of media never came, and the space that is left."""
        for client_id, series in list(self._series.items()):
            self._guarded(client_id, series.start_if_due, now_us)
        try:
            free_bytes = shutil.disk_usage(self._directory).free
        except OSError:
            return  # the directory is gone; open files can still be written, and the next file says what is wrong
        if free_bytes < self._reserve_bytes:
            for client_id in list(self._series):
                self._abandon(client_id, disk_full(self._directory, free_bytes, self._reserve_bytes))

    def _guarded(self, client_id: str, action: Callable[[*_Arguments], None], *args: *_Arguments) -> None:
        """An error of the disk, or one of ours, ends this recording and nothing else."""
        try:
            action(*args)
        except OSError as error:
            self._abandon(client_id, _why(error))
        except Exception:  # noqa: BLE001 - a fault in one client's media must not end the others' recordings
            _log.debug("recording of client %s", client_id, exc_info=True)
            self._abandon(client_id, "The recording failed by an error of the program; -vv shows more.")

    def _abandon(self, client_id: str, reason: str) -> None:
        series = self._series.pop(client_id, None)
        if series is not None:
            _log.warning("The recording of client %s has ended, its stream goes on. %s", client_id, reason)
            series.abandon(reason)

    def _tell(self, event: RecordingEvent) -> None:
        try:
            self._on_event(event)
        except Exception:  # noqa: BLE001 - whoever listens must not end the recordings
            _log.debug("a listener to recording events failed", exc_info=True)


def _why(error: OSError) -> str:
    """A sentence; ``disk_full`` writes its own."""
    if error.errno is None:
        return str(error)
    return f"Writing failed: {error.strerror}. Look at the disk, or name another directory with --record."


def _now_us() -> int:
    return time.monotonic_ns() // 1000
