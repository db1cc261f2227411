"""Everybody's pictures and sound, as they fall due: the receiving half of the public API.

socket ─► network thread ─► VideoFrameDue ─┬─► frames(), decoded by whoever iterates
                         │                 └─► recorder (encoded bytes)
                         ├► AudioReceived ─► sound thread ─► audio(), speaker, recorder
                         └► joined, left ─► events()
"""

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from udpconf.app.audio_receive import AudioReceiver
from udpconf.app.decoding import StreamDecoder
from udpconf.app.feeds import DueFrame, EventHub, Feed, FrameHub
from udpconf.app.recording import RoomRecording
from udpconf.app.values import (
    AudioBlock,
    ClientInfo,
    ClientJoined,
    ClientLeft,
    Frame,
    ServerEvent,
    SpeakerInfo,
)
from udpconf.config import (
    DEFAULT_AUDIO_PORTS,
    DEFAULT_PORT,
    check_latency_ms,
    check_passphrase,
    check_port,
    format_join_url,
    generate_key,
)
from udpconf.errors import ConfigError, LocalProtocolError
from udpconf.limits import CLIENTS_DEFAULT, MS, SECOND
from udpconf.media.speaker import Speaker
from udpconf.net.audio_ports import AudioPorts
from udpconf.net.clock import monotonic_us, wall_us
from udpconf.net.network_thread import NetworkThread
from udpconf.net.udp_socket import UdpSocket, outward_host
from udpconf.proto import events as core
from udpconf.proto.server import SERVER_ENDS, ServerEndpoint
from udpconf.proto.server_config import ServerConfig
from udpconf.proto.stats import ClientStats

# 12 dB: the limiter takes care of the rest.
_VOLUME_MAX = 4.0
# How often the picture is told of the sound's delay, which moves by a few ms in a second.
_LIP_SYNC_INTERVAL_US = 200 * MS


class Server:
    """A room: clients send to it, this program sees and hears them.

    Use it as a context manager, or call ``close``. Public methods may be called from any thread.

    Attributes:
        host: the address it listens on, as given.
        port: the UDP port of the main socket, also when 0 was asked for.
        passphrase: the room's secret, given or made; None for an open room.
        url: what a client needs to join; holds the secret.
    """

    def __init__(
        self,
        host: str = "0.0.0.0",
        port: int = DEFAULT_PORT,
        *,
        passphrase: str | None = None,
        open: bool = False,  # noqa: A002 - the word of the command line
        latency_ms: float | None = None,
        audio_ports: tuple[int, int] = DEFAULT_AUDIO_PORTS,
        max_clients: int = CLIENTS_DEFAULT,
        mux_audio: bool = False,
    ) -> None:
        """Listen; clients may join from here on.

        Args:
            host: an address of this machine; ``0.0.0.0`` is all of them, ``::`` all with IPv6.
            port: UDP port, 0 for any free one.
            passphrase: the room's secret; None makes a five-word key, see ``url``.
            open: no secret at all: whoever finds the port may send. Still encrypted.
            latency_ms: show each frame this many milliseconds after its capture (the larger of both sides counts), or
                None: as early as the path allows.
            audio_ports: first and last UDP port of the range from which each client gets one for its sound.
            max_clients: places in the room.
            mux_audio: sound travels through the main port, for firewalls that let only one through.

        Raises:
            PortInUseError: another program has the port.
            ConfigError: a setting is wrong.
        """
        if port != 0:
            check_port(port)
        if open and passphrase is not None:
            raise ConfigError("A room is open or has a passphrase, not both; leave one of them out.")
        low, high = check_port(audio_ports[0]), check_port(audio_ports[1])
        if low > high:
            raise ConfigError(f"The audio port range {low}-{high} runs backwards; write ({high}, {low}).")
        if max_clients < 1:
            raise ConfigError(f"A server with {max_clients} places takes nobody; choose 1 or more.")
        check_latency_ms(latency_ms)
        if passphrase is not None:
            check_passphrase(passphrase)
        elif not open:
            passphrase = generate_key()

        main = UdpSocket.listen(host, port)
        self.host, self.port, self.passphrase = host, main.port, passphrase
        self.url = format_join_url(outward_host(host), main.port, passphrase)
        self._audio_ports = AudioPorts(main.host, low, high)
        # Written by whoever drives the core, each replaced or read in one step.
        self._clients: dict[str, ClientInfo] = {}
        self._joined: dict[str, core.ClientJoined] = {}
        # From capture to decoded, of the last frame; written by decode threads.
        self._video_delay_us: dict[str, int] = {}
        self._lips_synced_us: dict[str, int] = {}
        self._frames = FrameHub()
        self._events = EventHub()
        self._decoders: dict[str, StreamDecoder] = {}  # written by whoever drives the core
        self._changing = threading.Lock()  # the two below
        self._speaker: Speaker | None = None
        self._recording: RoomRecording | None = None
        latency_us = None if latency_ms is None else int(latency_ms * MS)
        config = ServerConfig(passphrase, max_clients, latency_us, mux_audio)
        self._endpoint = ServerEndpoint(config, monotonic_us(), wall_us(), os.urandom)
        self._network: NetworkThread[ServerEndpoint, core.ServerEvent] = NetworkThread(
            self._endpoint, self._on_event, f"udpconf network on {main.port}"
        )
        self._sound = AudioReceiver(fetch=self._network.fetch, rest=self._network.stop_fetching)
        self._network.add_socket(core.MAIN_PATH, main)
        self._sound.start()
        self._network.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- who is here -------------------------------------------------------------------------------------------------

    def clients(self) -> list[ClientInfo]:
        """Everybody who is connected now, in the order of their coming."""
        return list(self._clients.values())

    def events(self, timeout: float | None = None) -> Feed[ServerEvent]:
        """Iterate over what happens from now on: ClientJoined, ClientLeft, ClientRefused, RecordingStarted,
        RecordingEnded. Who is still here when the server closes leaves as the last.

        Args:
            timeout: seconds; the iteration ends after so long without an event, and when the server closes.
        """
        return self._events.subscribe(timeout)

    def set_latency(self, latency_ms: float | None) -> None:
        """Change what was asked for as ``latency_ms``, for everybody who is here and who joins.

        Raises:
            ConfigError: it is out of its range.
        """
        check_latency_ms(latency_ms)
        latency_us = None if latency_ms is None else int(latency_ms * MS)
        self._network.post(lambda endpoint, now_us: endpoint.set_latency(now_us, latency_us))

    def stats(self) -> dict[str, ClientStats]:
        """Numbers of each client by its id; units are in their names, the list is in docs/statistics.md."""
        found = self._network.call(lambda endpoint, now_us: endpoint.stats(now_us)) or {}
        for client_id, stats in found.items():
            decoder = self._decoders.get(client_id)
            stats.frames_decoded = 0 if decoder is None else decoder.frames_decoded
            stats.frames_replaced = self._frames.replaced(client_id)
            stats.packets_dropped_by_kernel = self._network.kernel_drops(core.MAIN_PATH)
            if stats.audio_port:
                stats.packets_dropped_by_kernel += self._network.kernel_drops(stats.audio_port)
            delay_us, sound_us = self._video_delay_us.get(client_id), self._sound.audio_delay_us(client_id)
            stats.video_delay_ms = None if delay_us is None else delay_us / MS
            stats.audio_delay_ms = None if sound_us is None else sound_us / MS
            if delay_us is not None and sound_us is not None:
                stats.sound_after_picture_ms = (sound_us - delay_us) / MS
            stats.audio_level = self._sound.level(client_id)
            if (sound := self._sound.counts(client_id)) is not None:
                stats.audio_frames_concealed = sound.lost + sound.stretched
                stats.audio_silent_s = sound.silent_us / SECOND
        return found

    # --- pictures ----------------------------------------------------------------------------------------------------

    def frames(self, timeout: float | None = None, client: ClientInfo | str | None = None) -> Feed[Frame]:
        """Iterate over the pictures as they fall due for display.

        A frame that this loop is too slow for is replaced by the client's next one, and clients take turns. Each frame is
        decoded here, in the calling thread, when it is asked for; what waits for longer than the loop takes is not. To
        decode several clients side by side, iterate over each in a thread of its own.

        Args:
            timeout: seconds; the iteration ends after so long without a frame, and when the server closes.
            client: only this one's (a ClientInfo or its id); None: everybody's.
        """
        wanted_id = client.id if isinstance(client, ClientInfo) else client
        return self._frames.subscribe(wanted_id, timeout, self._on_decoded)

    def _on_decoded(self, frame: Frame) -> None:
        """In the thread of whoever iterates."""
        self._video_delay_us[frame.client.id] = monotonic_us() - frame.capture_us

    # --- sound -------------------------------------------------------------------------------------------------------

    def audio(self, timeout: float | None = None, client: ClientInfo | str | None = None) -> Feed[AudioBlock]:
        """Iterate over the sound, 5 ms a block (of many clients up to eight at once), as it should be played; none while nobody sends.

        Args:
            timeout: seconds; the iteration ends after so long without sound, and when the server closes.
            client: only this one's (a ClientInfo or its id); None: everybody's, mixed.
        """
        wanted_id = client.id if isinstance(client, ClientInfo) else client
        queue = self._sound.subscribe(wanted_id)

        def get(wait: float | None) -> AudioBlock | None:
            block = queue.get(wait)
            if block is None:
                return None
            known = client if isinstance(client, ClientInfo) else None  # it may have left meanwhile
            whose = known if block.client_id is None else self._clients.get(block.client_id, known)
            return AudioBlock(block.pcm, whose, block.capture_us)

        return Feed(get, lambda: self._sound.unsubscribe(queue), timeout)

    def start_speaker(self, device: str | int | None = None) -> None:
        """Play everybody's sound, from now on on this speaker; pictures are held back to keep step with it.

        Args:
            device: index or a part of the name, as ``udpconf devices`` lists them; None: the system's default.

        Raises:
            DeviceError: there is no such device, or it cannot be opened; a speaker that plays already goes on.
            MissingDependencyError: PyAudio is not installed.
        """
        with self._changing:
            speaker = Speaker(device)
            self._sound.set_speaker(speaker)
            before, self._speaker = self._speaker, speaker
        if before is not None:
            before.close()

    def stop_speaker(self) -> None:
        """Play nothing any more."""
        with self._changing:
            self._sound.set_speaker(None)
            speaker, self._speaker = self._speaker, None
        if speaker is not None:
            speaker.close()

    @property
    def speaker(self) -> SpeakerInfo | None:
        """What sound is played on, or None."""
        speaker = self._speaker
        return None if speaker is None else SpeakerInfo(speaker.name, speaker.device_latency_us / MS)

    def mute(self, muted: bool = True) -> None:
        """Silence the speaker, or let it sound again; ``audio()`` and recordings are not touched."""
        self._sound.muted = muted

    def set_volume(self, client: ClientInfo | str, volume: float) -> None:
        """How loud a client is heard, in the speaker and in the mix: 1 is as it came, 0 not at all.

        A client's sound alone and recordings are not touched. One that comes back is as loud as it came.

        Raises:
            ConfigError: the volume is not in 0..4, or there is no such client.
        """
        if not 0 <= volume <= _VOLUME_MAX:
            raise ConfigError(f"A volume is a number from 0 (silent) to {_VOLUME_MAX:g}, not {volume!r}.")
        if not self._sound.set_volume(client.id if isinstance(client, ClientInfo) else client, volume):
            raise ConfigError("There is no such client (any more).")

    @property
    def muted(self) -> bool:
        """The speaker was silenced."""
        return self._sound.muted

    # --- recording ---------------------------------------------------------------------------------------------------

    def start_recording(self, directory: str | Path) -> None:
        """Record everybody, who comes later included: a series of Matroska files a client, not compressed again.

        A recording that runs is ended first. A disk that fills up ends the recording and nothing else; ``events`` tells.

        Raises:
            ConfigError: the directory cannot be written to, or its disk is nearly full.
            LocalProtocolError: the server is closed.
        """
        self.stop_recording()
        recording = RoomRecording(Path(directory), self._events.publish)

        def begin(endpoint: ServerEndpoint, now_us: int) -> bool:
            self._recording = recording
            for client_id, joined in self._joined.items():
                recording.open(self._clients[client_id], video=joined.video, audio=joined.audio)
            return True

        with self._changing:
            if not self._network.call(begin):
                recording.stop()
                raise LocalProtocolError("This server is closed; nothing can be recorded.")
            self._sound.set_on_opus(recording.write_audio)

    def stop_recording(self) -> None:
        """Complete all files. Takes up to 2 s when the disk is slow; does nothing when nothing is recorded."""
        with self._changing:
            recording, self._recording = self._recording, None
            self._sound.set_on_opus(None)
        if recording is not None:
            recording.stop()

    @property
    def recording(self) -> bool:
        """A recording runs."""
        return self._recording is not None

    # --- the end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Say goodbye to everybody, complete recordings, end iterations and threads. May be repeated. Takes half a second, or
        up to 3 s when a disk or a sound device is slow.
        """
        try:
            self._network.close()
        finally:
            self._sound.stop()
            self.stop_speaker()
            self.stop_recording()
            self._frames.close()
            self._events.close([ClientLeft(client, SERVER_ENDS) for client in self._clients.values()])
            self._clients.clear()

    # --- in the thread that drives the core, never blocking ----------------------------------------------------------

    def _on_event(self, event: core.ServerEvent) -> None:
        match event:
            case core.VideoFrameDue(client_id=client_id, frame=frame):
                self._frames.publish(DueFrame(self._clients[client_id], frame, self._decoders[client_id]))
                recording = self._recording
                if recording is not None:
                    recording.write_video(client_id, frame)
                self._sync_lips(client_id, monotonic_us())
            case core.AudioReceived():
                self._sound.handle(event)
            case core.ClientJoined():
                self._join(event)
            case core.LatencyChanged():
                self._sound.set_latency(event.client_id, event.latency_us)
            case core.ClientLeft():
                self._leave(event)
            case core.ClientRefused():
                self._events.publish(event)
            case core.AudioPortWanted():
                audio_socket = self._audio_ports.open()
                if audio_socket is not None:
                    self._network.add_socket(audio_socket.port, audio_socket, fetched=audio_socket.stamped)
                port = 0 if audio_socket is None else audio_socket.port
                self._endpoint.audio_port_opened(monotonic_us(), event.session_id, port)
            case core.AudioPortReleased():
                self._network.remove_socket(event.port)

    def _join(self, event: core.ClientJoined) -> None:
        host, port, *_ = event.address
        client = ClientInfo(event.client_id, event.name, (host, port))
        self._clients[client.id] = client
        self._joined[client.id] = event
        self._decoders[client.id] = StreamDecoder()
        self._sound.add_client(client.id, event.latency_us)
        recording = self._recording  # another thread may end it any time
        if recording is not None:
            recording.open(client, video=event.video, audio=event.audio)
        self._events.publish(ClientJoined(client, event.rejoined))

    def _leave(self, event: core.ClientLeft) -> None:
        client = self._clients.pop(event.client_id)
        for table in (self._joined, self._video_delay_us, self._lips_synced_us):
            table.pop(client.id, None)
        del self._decoders[client.id]
        self._frames.forget(client.id)
        self._sound.remove_client(client.id)
        recording = self._recording
        if recording is not None:
            recording.close(client.id, f"The client left: {event.reason}.")
        self._events.publish(ClientLeft(client, event.reason))

    def _sync_lips(self, client_id: str, now_us: int) -> None:
        """Have the picture wait for the sound that is played with it; it never waits for sound that nobody plays."""
        if now_us - self._lips_synced_us.get(client_id, 0) >= _LIP_SYNC_INTERVAL_US:
            self._lips_synced_us[client_id] = now_us
            delay_us = None if self._speaker is None else self._sound.audio_delay_us(client_id)
            self._endpoint.set_audio_delay(now_us, client_id, delay_us)
