"""A client's endpoint on real sockets: which address to try, until when, and what to tell the user when it fails.

A host name may have several addresses, and the server may listen on one family only (it does by default). They are
tried one after the other, IPv4 first, each until some handshake datagrams stayed unanswered; so a server that starts a
second later is found as well, and after a break the search begins with the address that worked.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import TypeVar

from udpconf.errors import ConnectError, ConnectReason
from udpconf.net.clock import monotonic_us, wall_us
from udpconf.net.network_thread import NetworkThread
from udpconf.net.udp_socket import UdpSocket
from udpconf.proto.client import ClientEndpoint
from udpconf.proto.client_config import ClientConfig
from udpconf.proto.events import (
    AUDIO_PATH,
    MAIN_PATH,
    Address,
    ClientEvent,
    Connected,
    Disconnected,
    Failed,
    Transmit,
)

log = logging.getLogger("udpconf.app")

T = TypeVar("T")

# Handshake datagrams without any answer before the next address is tried: about 0.5 s with the HELLO's back-off.
_TRIES_PER_ADDRESS = 3


class Connection:
    """One session with a server, kept alive for as long as it is open.

    Attributes:
        host, port: where the server was said to be.
        lost_reason: why the last session ended, in words; None while none has.
    """

    def __init__(self, host: str, port: int, config: ClientConfig) -> None:
        """Find the addresses of the host. Blocks for as long as the name service does.

        Raises:
            ConnectError: there is no such host.
        """
        self.host, self.port = host, port
        self._addresses = resolve(host, port)
        self._reached = threading.Condition()
        self._connected = self._welcomed = False
        self._failure: ConnectReason | None = None
        self.lost_reason: str | None = None
        self._driven = _DrivenClient(
            ClientEndpoint(config, monotonic_us(), wall_us(), os.urandom), self._next_address
        )
        self._network: NetworkThread[_DrivenClient, ClientEvent] = NetworkThread(
            self._driven, self._on_event, f"udpconf network to {host}"
        )
        self._open_sockets()

    # --- from any thread ---------------------------------------------------------------------------------------------

    def connect(self, timeout: float) -> None:
        """Return once the server has welcomed us.

        Raises:
            ConnectError: it did not within ``timeout`` seconds, or does not want us. The connection is closed then.
        """
        self._network.start()
        try:
            with self._reached:
                self._reached.wait_for(lambda: self._connected or self._failure is not None, timeout)
                failure = self._failure
                if self._connected:
                    return
            trouble = sorted(
                reason.removeprefix("send_")
                for reason in self._network.socket_counters()
                if reason.startswith("send_")
            )
            raise self._error(failure or "unreachable", timeout, trouble)
        except BaseException:
            self.close()
            raise

    @property
    def connected(self) -> bool:
        """There is a session at the moment."""
        return self._connected

    @property
    def segment_max_bytes(self) -> int:
        """The largest segment that fits a datagram on this path."""
        return self._driven.endpoint.segment_max_bytes

    @property
    def parity_share(self) -> float:
        """What parity adds to the bytes of a frame at present."""
        return self._driven.endpoint.parity_share

    @property
    def sound_bitrate_bps(self) -> int:
        """What Opus may take at present."""
        return self._driven.endpoint.sound_bitrate_bps

    def sound_packet_bytes(self, frame_bytes: float) -> float:
        """How large datagrams of sound with Opus frames of so many bytes are at present, IP headers included."""
        return self._driven.endpoint.sound_packet_bytes(frame_bytes)

    @property
    def path_kbps(self) -> float:
        """What the path has for pictures at present, headers and parity included."""
        return self._driven.endpoint.path_kbps(monotonic_us())

    @property
    def error(self) -> ConnectError | None:
        """Why there will be no session again, or None while there is hope."""
        failure = self._failure
        return None if failure is None else self._error(failure, 0.0, [])

    def post(self, command: Callable[[ClientEndpoint, int], None]) -> bool:
        """Have ``command(endpoint, now_us)`` run in the network thread. False: too many wait already."""
        return self._network.post(lambda driven, now_us: command(driven.endpoint, now_us))

    def call(self, command: Callable[[ClientEndpoint, int], T]) -> T | None:
        """Run a command in the network thread and wait for its result; None once closed."""
        return self._network.call(lambda driven, now_us: command(driven.endpoint, now_us))

    def close(self) -> None:
        """Say goodbye, and end the network thread. Takes up to 300 ms."""
        self._connected = False
        self._network.close()

    # --- in the network thread ---------------------------------------------------------------------------------------

    def _on_event(self, event: ClientEvent) -> None:
        match event:
            case Connected():
                self._welcomed = True
                host, _, *rest = self._addresses[0]
                self._network.set_peer(AUDIO_PATH, (host, event.audio_port, *rest))
                log.info("connected to %s, UDP port %s", host, self.port)
            # Whoever has the sender says these two to people, in place and once.
            case Disconnected():
                self.lost_reason = event.reason
                log.info("lost %s: %s; trying again until it answers", self.host, event.reason)
            case Failed() if self._welcomed:  # else connect() raises it
                log.info("%s", self._error(event.reason, 0.0, []))
        with self._reached:
            self._connected = isinstance(event, Connected)
            if isinstance(event, Failed):
                self._failure = event.reason
            self._reached.notify_all()

    def _next_address(self) -> None:
        if len(self._addresses) > 1:
            self._addresses.append(self._addresses.pop(0))
            self._open_sockets()

    def _open_sockets(self) -> None:
        address = self._addresses[0]
        self._network.add_socket(MAIN_PATH, UdpSocket.towards(address), address)
        self._network.add_socket(AUDIO_PATH, UdpSocket.towards(address, voice=True))

    def _error(self, reason: ConnectReason, timeout: float, trouble: list[str]) -> ConnectError:
        place = f"{self.host}, UDP port {self.port}"
        noted = f" This machine reported {', '.join(trouble)} when sending." if trouble else ""
        sentences: dict[ConnectReason, str] = {
            "unreachable": f"No answer from {place} within {timeout:g} s.{noted} Check the address, that "
            f"`udpconf serve` runs there, and that no firewall on the way drops UDP port {self.port}.",
            "refused": f"The server at {place} did not accept the passphrase. Use the URL that it prints now: unless it "
            "was given a passphrase, it makes a new key at each start.",
            "full": f"The server at {place} is full. Try again when somebody has left, or start it with a larger "
            "--max-clients.",
            "version": f"The server at {place} speaks another version of the protocol. Install the same version of "
            "udpconf on both machines.",
        }
        return ConnectError(sentences[reason], reason)


class _DrivenClient:
    """The client's endpoint with the verbs of every endpoint, watching for addresses that do not answer."""

    def __init__(self, endpoint: ClientEndpoint, on_silence: Callable[[], None]) -> None:
        self.endpoint = endpoint
        self._on_silence = on_silence
        self._unanswered = 0
        self.handle_timeout = endpoint.handle_timeout
        self.close = endpoint.close
        self.poll_event = endpoint.poll_event
        self.poll_timeout = endpoint.poll_timeout

    @property
    def closed(self) -> bool:
        return self.endpoint.state in ("closed", "failed")

    def handle_datagram(self, now_us: int, path: int, address: Address, data: bytes, came_us: int) -> None:
        self._unanswered = 0
        self.endpoint.handle_datagram(now_us, path, data)

    @property
    def has_output(self) -> bool:
        return self.endpoint.has_output

    def poll_transmit(self) -> Transmit | None:
        transmit = self.endpoint.poll_transmit()
        # Pings and the like of a session that waits to be welcomed, or has fallen silent, are no attempts.
        if transmit is not None and transmit.is_handshake and self.endpoint.state != "connected":
            self._unanswered += 1
            if self._unanswered > _TRIES_PER_ADDRESS:
                self._unanswered = 1
                self._on_silence()
        return transmit


def resolve(host: str, port: int) -> list[Address]:
    """All addresses of a host, IPv4 first: a server listens on 0.0.0.0 unless told otherwise.

    Raises:
        ConnectError: the name has none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ConnectError(
            f"There is no address for {host!r} ({why}). Check the spelling and the name service, or give the "
            f"server's IP address.",
            "unreachable",
        ) from error
    known = [entry for entry in found if entry[0] in (socket.AF_INET, socket.AF_INET6)]
    ordered = sorted(known, key=lambda entry: entry[0] != socket.AF_INET)
    return [entry[4] for entry in ordered]
