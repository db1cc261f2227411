"""One recording of the whole room: who is in it, and its events with names instead of ids."""

from collections.abc import Callable
from pathlib import Path

from udpconf.app.values import ClientInfo, RecordingEnded, RecordingStarted, ServerEvent
from udpconf.media import recorder as media
from udpconf.media.recorder import Recorder


class RoomRecording:
    """Begins at once; ``stop`` ends it. ``open``, ``close`` and the writers never block and may be called anywhere.

    Raises:
        ConfigError: the directory cannot be written to, or its disk is nearly full.
    """

    def __init__(self, directory: Path, publish: Callable[[ServerEvent], None]) -> None:
        self.directory = directory
        self._publish = publish
        self._clients: dict[str, ClientInfo] = {}  # kept after close(): the file is completed later
        self._recorder = Recorder(directory, self._on_event)
        self.write_video = self._recorder.write_video
        self.write_audio = self._recorder.write_audio

    def open(self, client: ClientInfo, *, video: bool, audio: bool) -> None:
        """Record a client; ``video`` and ``audio`` are what it offered."""
        self._clients[client.id] = client
        host, port = client.address
        self._recorder.open(client.id, client.name, address=f"{host}:{port}", video=video, audio=audio)

    def close(self, client_id: str, reason: str) -> None:
        """Complete a client's file."""
        self._recorder.close(client_id, reason)

    def stop(self) -> None:
        """Complete all files. Takes up to 2 s when the disk is slow."""
        self._recorder.stop()

    def _on_event(self, event: media.RecordingEvent) -> None:
        """In the recorder's thread."""
        client = self._clients[event.client_id]
        if isinstance(event, media.RecordingStarted):
            self._publish(RecordingStarted(client, event.path))
        else:
            self._publish(RecordingEnded(client, event.path, event.reason))
