"""Two endpoints, a bad link between them and a clock that only arithmetic moves.

A ``Conversation`` drives a server and its clients through virtual time: it jumps to the next instant at which anybody
has something to do, delivers what is due, and drains every output after every input, as the network thread does. Each
machine has a clock of its own, far from the others', so that a forgotten conversion cannot pass. Each client has a path
of its own to the server, with luck of its own.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Literal

from tests.pictures import picture
from udpconf.emulation.link import Link, LinkConditions, flip_bit
from udpconf.emulation.scenario import Scenario, of_conditions
from udpconf.emulation.scenario_link import ScenarioLink
from udpconf.limits import MS, SECOND
from udpconf.proto.client import ClientEndpoint
from udpconf.proto.client_config import ClientConfig
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
from udpconf.proto.server import ServerEndpoint
from udpconf.proto.server_client import ServerClient
from udpconf.proto.server_config import ServerConfig
from udpconf.wire.envelope import PROTECTED_BIT, TAG_BYTES

SERVER_START_US = 7_000 * SECOND
WALL_US = 1_800_000_000 * SECOND
PERFECT = LinkConditions(delay_us=1 * MS)
UDP_IP_BYTES = 28
FIRST_AUDIO_PORT = 5556
# More turns than this at one instant: somebody's timer is in the past and stays there, which is a busy loop.
TURNS_AT_ONCE_MAX = 1000

Direction = Literal["up", "down"]
# Which socket it leaves from or comes to, the client's address, the bytes.
Datagram = tuple[int, Address, bytes]


def damaged(datagram: Datagram, where: float) -> Datagram:
    """A bit of it is flipped. Where the null cipher is used the tag goes as well, for any AEAD would refuse the packet."""
    path, address, data = datagram
    data = flip_bit(data, where)
    return path, address, data[:-TAG_BYTES] + b"\xff" * TAG_BYTES if data[0] & PROTECTED_BIT else data


def fitting_bytes(endpoint: ClientEndpoint, now_us: int, fps: int) -> int:
    """How large a picture the path has room for, as the sender's application works it out; 0: none."""
    share = endpoint.path_kbps(now_us) * 1000 / 8 / fps
    return int(0.85 * share / (1 + endpoint.parity_share))


@dataclass
class Peer:
    """A client, its path to the server and what it told."""

    number: int
    endpoint: ClientEndpoint
    address: Address
    audio_address: Address
    clock_offset_us: int
    path: ScenarioLink[Datagram]
    events: list[tuple[int, ClientEvent]] = field(default_factory=list)
    sent_at_us: dict[int, int] = field(default_factory=dict)
    # Kept until the endpoint gets its next input, for asking costs more than all else in a turn.
    timeout_us: int | None = None
    timeout_known: bool = False
    # When the next turn has to deliver, and to wake the endpoint.
    deliver_at_us: int | None = None
    wake_at_us: int | None = None

    @property
    def state(self) -> str:
        return self.endpoint.state

    @property
    def up(self) -> Link[Datagram]:
        return self.path.up

    @property
    def down(self) -> Link[Datagram]:
        return self.path.down

    @property
    def next_us(self) -> int | None:
        """When the endpoint's next timer is due, on the script's clock."""
        if not self.timeout_known:
            at_us = self.endpoint.poll_timeout()
            self.timeout_us = None if at_us is None else at_us - self.clock_offset_us
            self.timeout_known = True
        return self.timeout_us


class Conversation:
    """One server, any number of clients. Times of the script are microseconds since the start."""

    def __init__(
        self,
        *,
        seed: int | str = 1,
        up: LinkConditions = PERFECT,
        down: LinkConditions = PERFECT,
        server: ServerConfig | None = None,
        audio_ports: int = 100,
    ) -> None:
        self.seed = seed
        self.now_us = 0
        self.rng = random.Random(f"{seed}/conversation")
        self.scenario = of_conditions(up, down)  # of those who join from now on
        self.server_config = server or ServerConfig(passphrase="five words make a key", null_cipher=True)
        self.server: ServerEndpoint | None = None
        self.server_events: list[tuple[int, ServerEvent]] = []
        self.server_clients: dict[int, ServerClient] = {}  # all there ever were, by session id
        self.clients: list[Peer] = []
        self.audio_ports = audio_ports
        self._script: list[tuple[int, int, Callable[[], None]]] = []
        self._scripted = 0
        # May change or swallow a datagram before it is put into the link.
        self.tap: Callable[[str, bytes], bytes | None] | None = None
        # Sees every datagram that the link gets and gives: "up" or "down", the client's number, whether it comes out, bytes.
        self.on_datagram: Callable[[str, int, bool, bytes], None] | None = None
        # Gets the server's events instead of server_events: every picture of a long call would be kept there, and the garbage
        # collector would look at each of them again and again (a quarter of the time of 60 s).
        self.on_server_event: Callable[[ServerEvent], None] | None = None
        self._server_timeout_us: int | None = None
        self._server_timeout_known = False
        self.start_server()

    # --- who takes part ---

    def start_server(self) -> ServerEndpoint:
        self._free_ports = list(range(FIRST_AUDIO_PORT, FIRST_AUDIO_PORT + self.audio_ports))
        now_us = SERVER_START_US + self.now_us
        self.server = ServerEndpoint(self.server_config, now_us, WALL_US + self.now_us, self.rng.randbytes)
        self._server_timeout_known = False
        return self.server

    def kill_server(self) -> None:
        self.server = None
        self._server_timeout_known = False

    def join(self, config: ClientConfig | None = None) -> Peer:
        number = len(self.clients)
        config = config or ClientConfig(
            "five words make a key", f"cam-{number}", max_bitrate_kbps=8000, null_cipher=True
        )
        offset_us = (11 + number) * 1_000 * SECOND + number
        endpoint = ClientEndpoint(
            config, self.now_us + offset_us, WALL_US + self.now_us + 3600 * SECOND, self.rng.randbytes
        )
        peer = Peer(
            number,
            endpoint,
            (f"10.0.0.{number + 2}", 40_000),
            (f"10.0.0.{number + 2}", 40_001),
            offset_us,
            ScenarioLink(self.scenario, f"{self.seed}/{number}", damaged),
        )
        self.clients.append(peer)
        self.drain(peer)
        return peer

    def set_scenario(self, scenario: Scenario) -> None:
        """The path of everybody who is here, from now on, and of those who join."""
        self.scenario = scenario
        for peer in self.clients:
            peer.path.set_scenario(self.now_us, scenario)

    # --- the script ---

    def at(self, when_us: int, action: Callable[[], None]) -> None:
        self._scripted += 1
        heappush(self._script, (when_us, self._scripted, action))

    def stream(self, peer: Peer, *, seconds: float, fps: int = 30, coded_bytes: int = 12_500) -> None:
        """Send pictures from now on, as large as asked for or as the path has room for."""
        for number in range(int(seconds * fps)):
            when_us = self.now_us + number * SECOND // fps

            def send(number: int = number, when_us: int = when_us) -> None:
                local_us = when_us + peer.clock_offset_us
                room_bytes = fitting_bytes(peer.endpoint, local_us, fps)
                if not room_bytes:
                    return
                peer.sent_at_us[number] = when_us
                encoded = picture(number, local_us, min(coded_bytes, room_bytes))
                peer.endpoint.send_frame(local_us, number, encoded)
                self.drain(peer)

            self.at(when_us, send)

    def talk(self, peer: Peer, *, seconds: float) -> None:
        """Send sound: 10 ms a packet."""
        for number in range(int(seconds * 100)):
            when_us = self.now_us + number * 10 * MS

            def send(number: int = number, when_us: int = when_us) -> None:
                local_us = when_us + peer.clock_offset_us
                peer.endpoint.send_audio(local_us, f"opus {number}".encode().ljust(41, b"."), local_us)
                self.drain(peer)

            self.at(when_us, send)

    # --- time ---

    def run(self, seconds: float) -> None:
        until_us = self.now_us + int(seconds * SECOND)
        turns_at_once = 0
        self._server_timeout_known = False  # a test may have done anything to the endpoints
        for peer in self.clients:
            peer.timeout_known = False
        while True:
            next_us = self._next_us()
            if next_us is None or next_us > until_us:
                self.now_us = until_us
                return
            turns_at_once = turns_at_once + 1 if next_us <= self.now_us else 0
            assert turns_at_once < TURNS_AT_ONCE_MAX, f"a timer spins at {self.now_us} us, seed {self.seed}"
            self.now_us = max(self.now_us, next_us)
            self._turn()

    def _server_next_us(self) -> int | None:
        if not self._server_timeout_known:
            at_us = None if self.server is None else self.server.poll_timeout()
            self._server_timeout_us = None if at_us is None else at_us - SERVER_START_US
            self._server_timeout_known = True
        return self._server_timeout_us

    def _next_us(self) -> int | None:
        next_us = self._server_next_us()
        if self._script and (next_us is None or self._script[0][0] < next_us):
            next_us = self._script[0][0]
        for peer in self.clients:
            peer.wake_at_us = wake_at_us = peer.next_us
            peer.deliver_at_us = deliver_at_us = peer.path.poll_timeout()
            if wake_at_us is not None and (next_us is None or wake_at_us < next_us):
                next_us = wake_at_us
            if deliver_at_us is not None and (next_us is None or deliver_at_us < next_us):
                next_us = deliver_at_us
        return next_us

    def _turn(self) -> None:
        """What was due when the turn was planned; what it brings about at the same instant is the next one's."""
        now_us = self.now_us
        while self._script and self._script[0][0] <= now_us:
            heappop(self._script)[2]()
        for peer in self.clients:
            if (at_us := peer.deliver_at_us) is not None and at_us <= now_us:
                self._deliver(peer)
            if (at_us := peer.wake_at_us) is not None and at_us <= now_us:
                peer.endpoint.handle_timeout(now_us + peer.clock_offset_us)
                self.drain(peer)
        if (
            self.server is not None
            and (server_us := self._server_next_us()) is not None
            and server_us <= now_us
        ):
            self.server.handle_timeout(SERVER_START_US + now_us)
            self._drain_server()

    def _deliver(self, peer: Peer) -> None:
        now_us, poll, seen = self.now_us, peer.path.poll_delivery, self.on_datagram
        while (arrived := poll("up", now_us)) is not None:
            path, address, data = arrived
            if seen is not None:
                seen("up", peer.number, True, data)
            if self.server is not None:
                self.server.handle_datagram(SERVER_START_US + now_us, path, address, data)
                self._drain_server()
        while (arrived := poll("down", now_us)) is not None:
            path, _, data = arrived
            if seen is not None:
                seen("down", peer.number, True, data)
            peer.endpoint.handle_datagram(now_us + peer.clock_offset_us, path, data)
            self.drain(peer)

    def drain(self, peer: Peer) -> None:
        peer.timeout_known = False
        endpoint = peer.endpoint
        while (transmit := endpoint.poll_transmit()) is not None:
            data = self._tapped("up", transmit.data)
            if data is None:
                continue
            if transmit.path == AUDIO_PATH:
                self._put(peer, "up", (endpoint.audio_port or 0, peer.audio_address, data))
            else:
                self._put(peer, "up", (MAIN_PATH, peer.address, data))
        while (event := endpoint.poll_event()) is not None:
            peer.events.append((self.now_us, event))

    def _drain_server(self) -> None:
        self._server_timeout_known = False
        server = self.server
        assert server is not None
        if server._clients and (newest := next(reversed(server._clients))) not in self.server_clients:
            self.server_clients[newest] = server._clients[newest]
        while True:
            transmit = server.poll_transmit()
            if transmit is not None:
                data = self._tapped("down", transmit.data)
                for peer in self.clients:
                    if data is not None and transmit.address in (peer.address, peer.audio_address):
                        path = MAIN_PATH if transmit.address == peer.address else AUDIO_PATH
                        self._put(peer, "down", (path, transmit.address, data))
                continue
            event = server.poll_event()
            if event is None:
                return
            if self.on_server_event is None:
                self.server_events.append((self.now_us, event))
            else:
                self.on_server_event(event)
            if isinstance(event, AudioPortWanted):
                port = self._free_ports.pop(0) if self._free_ports else 0
                server.audio_port_opened(SERVER_START_US + self.now_us, event.session_id, port)

    def _put(self, peer: Peer, direction: Direction, datagram: Datagram) -> None:
        if self.on_datagram is not None:
            self.on_datagram(direction, peer.number, False, datagram[2])
        peer.path.send(direction, self.now_us, datagram, len(datagram[2]) + UDP_IP_BYTES)

    def _tapped(self, direction: Direction, data: bytes) -> bytes | None:
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
