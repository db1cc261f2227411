"""Everybody's pictures and sound, as they fall due: the receiving half of the public API.

socket ─► network thread ─► VideoFrameDue ─┬─► decode threads, if anybody listens ─► frames()
                         │                 └─► recorder (encoded bytes)
                         ├► AudioReceived ─► sound thread ─► audio(), speaker, recorder
                         └► joined, left ─► events()
"""

import os
from types import TracebackType
from typing import Self

from udpconf.app.decoding import DecodePool
from udpconf.app.feeds import EventHub, Feed, FrameHub
from udpconf.app.values import ClientInfo, ClientJoined, ClientLeft, Frame, ServerEvent
from udpconf.config import (
    DEFAULT_AUDIO_PORTS,
    DEFAULT_PORT,
    check_latency_ms,
    check_passphrase,
    check_port,
    format_join_url,
    generate_key,
)
from udpconf.errors import ConfigError
from udpconf.frames import ReceivedFrame
from udpconf.limits import CLIENTS_DEFAULT, MS, SECOND
from udpconf.media.decode import DecodedPicture
from udpconf.net.audio_ports import AudioPorts
from udpconf.net.clock import monotonic_us, wall_us
from udpconf.net.network_thread import NetworkThread
from udpconf.net.udp_socket import UdpSocket, outward_host
from udpconf.proto import events as core
from udpconf.proto.server import ServerConfig, ServerEndpoint
from udpconf.proto.stats import ClientStats


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
        self._clients: dict[str, ClientInfo] = {}  # written by the network thread
        self._frames = FrameHub()
        self._events = EventHub()
        self._decoding = DecodePool(self._deliver)
        latency_us = None if latency_ms is None else int(latency_ms * MS)
        self._endpoint = ServerEndpoint(
            ServerConfig(passphrase, max_clients, latency_us, mux_audio),
            monotonic_us(),
            wall_us(),
            os.urandom,
        )
        self._network: NetworkThread[ServerEndpoint, core.ServerEvent] = NetworkThread(
            self._endpoint, self._on_event, f"udpconf network on {main.port}"
        )
        self._network.add_socket(core.MAIN_PATH, main)
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
        """Iterate over what happens from now on: ClientJoined, ClientLeft, RecordingStarted, RecordingEnded.

        Args:
            timeout: seconds; the iteration ends after so long without an event, and when the server closes.
        """
        return self._events.subscribe(timeout)

    def stats(self) -> dict[str, ClientStats]:
        """Numbers of each client by its id; units are in their names, the list is in docs/statistics.md."""
        found = self._network.call(lambda endpoint, now_us: endpoint.stats(now_us)) or {}
        for client_id, stats in found.items():
            stats.frames_decoded, undecoded = self._decoding.counts(client_id)
            stats.frames_replaced = undecoded + self._frames.replaced(client_id)
        return found

    # --- pictures ----------------------------------------------------------------------------------------------------

    def frames(self, timeout: float | None = None, client: ClientInfo | str | None = None) -> Feed[Frame]:
        """Iterate over the pictures as they fall due for display.

        A frame that this loop is too slow for is replaced by the client's next one, and clients take turns. Frames are
        decoded only while somebody iterates, counted from this call.

        Args:
            timeout: seconds; the iteration ends after so long without a frame, and when the server closes.
            client: only this one's (a ClientInfo or its id); None: everybody's.
        """
        return self._frames.subscribe(client.id if isinstance(client, ClientInfo) else client, timeout)

    def _deliver(self, client_id: str, received: ReceivedFrame, picture: DecodedPicture) -> None:
        """In a decode thread."""
        client = self._clients.get(client_id)
        if client is None:
            return
        encoded = received.encoded
        self._frames.publish(
            Frame(
                image=picture.image,
                client=client,
                frame_id=received.frame_id,
                capture_us=encoded.capture_us,
                capture_time=received.capture_wall_us / SECOND,
                received_us=received.received_us,
                complete=encoded.complete,
                fresh_area=picture.fresh_area,
                coded_size=encoded.coded_size,
            )
        )

    # --- the end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Say goodbye to everybody, end all iterations and threads. Takes up to half a second; may be repeated."""
        self._network.close()
        self._decoding.close()
        self._frames.close()
        self._events.close()

    # --- in the network thread, never blocking -----------------------------------------------------------------------

    def _on_event(self, event: core.ServerEvent) -> None:
        match event:
            case core.VideoFrameDue():
                if self._frames.wanted(event.client_id):
                    self._decoding.submit(event.client_id, event.frame)
            case core.AudioReceived():
                pass
            case core.ClientJoined():
                host, port, *_ = event.address
                client = ClientInfo(event.client_id, event.name, (host, port))
                self._clients[client.id] = client
                self._events.publish(ClientJoined(client, event.rejoined))
            case core.ClientLeft():
                left = self._clients.pop(event.client_id, None)
                self._decoding.forget(event.client_id)
                if left is not None:
                    self._events.publish(ClientLeft(left, event.reason))
            case core.AudioPortWanted():
                audio_socket = self._audio_ports.open()
                if audio_socket is not None:
                    self._network.add_socket(audio_socket.port, audio_socket)
                port = audio_socket.port if audio_socket is not None else 0
                self._endpoint.audio_port_opened(monotonic_us(), event.session_id, port)
            case core.AudioPortReleased():
                self._network.remove_socket(event.port)
