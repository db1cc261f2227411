"""Two endpoints, a bad link between them and a clock that only arithmetic moves.

A ``Conversation`` drives a server and its clients through virtual time: it jumps to the next instant at which anybody
has something to do, delivers what is due, and drains every output after every input, as the network thread does. Each
machine has a clock of its own, far from the others', so that a forgotten conversion cannot pass.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from tests.pictures import picture
from udpconf.emulation.link import Link, LinkConditions
from udpconf.limits import MS, SECOND
from udpconf.proto.client import ClientConfig, ClientEndpoint
from udpconf.proto.events import (
    AUDIO_PATH,
    MAIN_PATH,
    Address,
    AudioPortWanted,
    AudioReceived,
    ClientEvent,
    ServerEvent,
    VideoFrameDue,
)
from udpconf.proto.server import ServerConfig, ServerEndpoint

SERVER_START_US = 7_000 * SECOND
WALL_US = 1_800_000_000 * SECOND
PERFECT = LinkConditions(delay_us=1 * MS)
UDP_IP_BYTES = 28
FIRST_AUDIO_PORT = 5556
# More turns than this at one instant: somebody's timer is in the past and stays there, which is a busy loop.
TURNS_AT_ONCE_MAX = 1000


@dataclass
class Peer:
    """A client, its links and what it told."""

    endpoint: ClientEndpoint
    address: Address
    audio_address: Address
    clock_offset_us: int
    up: Link[tuple[int, Address, bytes]]
    down: Link[tuple[int, bytes]]
    events: list[tuple[int, ClientEvent]] = field(default_factory=list)
    sent_at_us: dict[int, int] = field(default_factory=dict)

    @property
    def state(self) -> str:
        return self.endpoint.state


class Conversation:
    """One server, any number of clients. Times of the script are microseconds since the start."""

    def __init__(
        self,
        *,
        seed: int = 1,
        up: LinkConditions = PERFECT,
        down: LinkConditions = PERFECT,
        server: ServerConfig | None = None,
        audio_ports: int = 100,
    ) -> None:
        self.seed = seed
        self.now_us = 0
        self.rng = random.Random(f"{seed}/conversation")
        self.up, self.down = up, down
        self.server_config = server or ServerConfig(passphrase="five words make a key", null_cipher=True)
        self.server: ServerEndpoint | None = None
        self.server_events: list[tuple[int, ServerEvent]] = []
        self.clients: list[Peer] = []
        self.audio_ports = audio_ports
        self._script: list[tuple[int, int, Callable[[], None]]] = []
        self._scripted = 0
        self.tap: Callable[[str, bytes], bytes | None] | None = None
        self.start_server()

    # --- who takes part ---

    def start_server(self) -> ServerEndpoint:
        self._free_ports = list(range(FIRST_AUDIO_PORT, FIRST_AUDIO_PORT + self.audio_ports))
        now_us = SERVER_START_US + self.now_us
        self.server = ServerEndpoint(self.server_config, now_us, WALL_US + self.now_us, self.rng.randbytes)
        return self.server

    def kill_server(self) -> None:
        self.server = None

    def join(self, config: ClientConfig | None = None) -> Peer:
        number = len(self.clients)
        config = config or ClientConfig("five words make a key", f"cam-{number}", null_cipher=True)
        offset_us = (11 + number) * 1_000 * SECOND + number
        endpoint = ClientEndpoint(
            config, self.now_us + offset_us, WALL_US + self.now_us + 3600 * SECOND, self.rng.randbytes
        )
        peer = Peer(
            endpoint,
            (f"10.0.0.{number + 2}", 40_000),
            (f"10.0.0.{number + 2}", 40_001),
            offset_us,
            Link(self.up, f"{self.seed}/{number}/up"),
            Link(self.down, f"{self.seed}/{number}/down"),
        )
        self.clients.append(peer)
        self._drain_client(peer)
        return peer

    # --- the script ---

    def at(self, when_us: int, action: Callable[[], None]) -> None:
        self._scripted += 1
        heappush(self._script, (when_us, self._scripted, action))

    def stream(self, peer: Peer, *, seconds: float, fps: int = 30, coded_bytes: int = 12_500) -> None:
        """Send pictures from now on."""
        for number in range(int(seconds * fps)):
            when_us = self.now_us + number * SECOND // fps

            def send(number: int = number, when_us: int = when_us) -> None:
                local_us = when_us + peer.clock_offset_us
                peer.sent_at_us[number] = when_us
                peer.endpoint.send_frame(local_us, number, picture(number, local_us, coded_bytes))
                self._drain_client(peer)

            self.at(when_us, send)

    def talk(self, peer: Peer, *, seconds: float) -> None:
        """Send sound: 10 ms a packet."""
        for number in range(int(seconds * 100)):
            when_us = self.now_us + number * 10 * MS

            def send(number: int = number, when_us: int = when_us) -> None:
                local_us = when_us + peer.clock_offset_us
                peer.endpoint.send_audio(local_us, f"opus {number}".encode().ljust(41, b"."), local_us)
                self._drain_client(peer)

            self.at(when_us, send)

    # --- time ---

    def run(self, seconds: float) -> None:
        until_us = self.now_us + int(seconds * SECOND)
        turns_at_once = 0
        while True:
            next_us = self._next_us()
            if next_us is None or next_us > until_us:
                self.now_us = until_us
                return
            turns_at_once = turns_at_once + 1 if next_us <= self.now_us else 0
            assert turns_at_once < TURNS_AT_ONCE_MAX, f"a timer spins at {self.now_us} us, seed {self.seed}"
            self.now_us = max(self.now_us, next_us)
            self._turn()

    def _next_us(self) -> int | None:
        times: list[int] = []
        if self.server is not None and (at_us := self.server.poll_timeout()) is not None:
            times.append(at_us - SERVER_START_US)
        for peer in self.clients:
            if (at_us := peer.endpoint.poll_timeout()) is not None:
                times.append(at_us - peer.clock_offset_us)
            times += [at for link in (peer.up, peer.down) if (at := link.poll_timeout()) is not None]
        if self._script:
            times.append(self._script[0][0])
        return min(times, default=None)

    def _turn(self) -> None:
        while self._script and self._script[0][0] <= self.now_us:
            heappop(self._script)[2]()
        for peer in self.clients:
            while (arrived := peer.up.poll_delivery(self.now_us)) is not None:
                path, address, data = arrived
                if self.server is not None:
                    self.server.handle_datagram(SERVER_START_US + self.now_us, path, address, data)
                    self._drain_server()
            while (returned := peer.down.poll_delivery(self.now_us)) is not None:
                client_path, data = returned
                peer.endpoint.handle_datagram(self.now_us + peer.clock_offset_us, client_path, data)
                self._drain_client(peer)
            at_us = peer.endpoint.poll_timeout()
            if at_us is not None and at_us - peer.clock_offset_us <= self.now_us:
                peer.endpoint.handle_timeout(self.now_us + peer.clock_offset_us)
                self._drain_client(peer)
        if self.server is not None:
            at_us = self.server.poll_timeout()
            if at_us is not None and at_us - SERVER_START_US <= self.now_us:
                self.server.handle_timeout(SERVER_START_US + self.now_us)
                self._drain_server()

    def _drain_client(self, peer: Peer) -> None:
        while (transmit := peer.endpoint.poll_transmit()) is not None:
            data = self._tapped("up", transmit.data)
            if data is None:
                continue
            if transmit.path == AUDIO_PATH:
                path, address = peer.endpoint.audio_port or 0, peer.audio_address
            else:
                path, address = MAIN_PATH, peer.address
            peer.up.send(self.now_us, (path, address, data), len(data) + UDP_IP_BYTES)
        while (event := peer.endpoint.poll_event()) is not None:
            peer.events.append((self.now_us, event))

    def _drain_server(self) -> None:
        server = self.server
        assert server is not None
        while True:
            transmit = server.poll_transmit()
            if transmit is not None:
                data = self._tapped("down", transmit.data)
                for peer in self.clients:
                    if data is not None and transmit.address in (peer.address, peer.audio_address):
                        path = MAIN_PATH if transmit.address == peer.address else AUDIO_PATH
                        peer.down.send(self.now_us, (path, data), len(data) + UDP_IP_BYTES)
                continue
            event = server.poll_event()
            if event is None:
                return
            self.server_events.append((self.now_us, event))
            if isinstance(event, AudioPortWanted):
                port = self._free_ports.pop(0) if self._free_ports else 0
                server.audio_port_opened(SERVER_START_US + self.now_us, event.session_id, port)

    def _tapped(self, direction: str, data: bytes) -> bytes | None:
        return data if self.tap is None else self.tap(direction, data)

    # --- what came of it ---

    def frames_due(self, client_id: str) -> list[tuple[int, VideoFrameDue]]:
        return [
            (at_us, event)
            for at_us, event in self.server_events
            if isinstance(event, VideoFrameDue) and event.client_id == client_id
        ]

    def sound(self, client_id: str) -> list[AudioReceived]:
        return [
            event
            for _, event in self.server_events
            if isinstance(event, AudioReceived) and event.client_id == client_id
        ]
