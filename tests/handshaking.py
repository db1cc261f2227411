"""A client and a listener that shake hands in virtual time, with a bad link between them if a test wants one."""

import random
from collections.abc import Callable
from functools import lru_cache

from udpconf.emulation.link import Link, LinkConditions
from udpconf.limits import MS
from udpconf.proto.client_handshake import ClientHandshake, Established
from udpconf.proto.crypto import Direction, Entropy, SessionKeys
from udpconf.proto.events import Address
from udpconf.proto.listener import HandshakeListener
from udpconf.proto.room import Room
from udpconf.wire.envelope import Channel

ADDRESS: Address = ("198.51.100.7", 40_000)
PASSPHRASE = "tall otter cedar"
SERVER_START_US = 7_000_000_000
CLIENT_START_US = 11_000_000_000


def entropy(seed: int | str) -> Entropy:
    return random.Random(seed).randbytes


@lru_cache(maxsize=16)
def room(passphrase: str | None = PASSPHRASE) -> Room:
    return Room.open() if passphrase is None else Room.from_passphrase(passphrase)


def listen(
    *,
    passphrase: str | None = PASSPHRASE,
    seed: int | str = "listener",
    now_us: int = SERVER_START_US,
    in_use: Callable[[int], bool] = lambda _: False,
    is_full: Callable[[], bool] = lambda: False,
) -> HandshakeListener:
    return HandshakeListener(room(passphrase), now_us, entropy(seed), in_use=in_use, is_full=is_full)


def knock(
    *, passphrase: str | None = PASSPHRASE, seed: int | str = "client", now_us: int = CLIENT_START_US
) -> ClientHandshake:
    return ClientHandshake(room(passphrase), now_us, entropy(seed))


def sent(client: ClientHandshake) -> bytes:
    """The datagram that the client must have ready."""
    data = client.poll_transmit()
    assert data is not None
    return data


def replied(listener: HandshakeListener, data: bytes, *, now_us: int = SERVER_START_US) -> bytes:
    """The reply that the listener must give."""
    reply = listener.handle_datagram(now_us, ADDRESS, data)
    assert reply is not None
    return reply


def hello_with_cookie(
    client: ClientHandshake, listener: HandshakeListener, *, now_us: int = SERVER_START_US
) -> bytes:
    """Run the first round trip."""
    client.handle_datagram(CLIENT_START_US, replied(listener, sent(client), now_us=now_us))
    return sent(client)


def established(client: ClientHandshake) -> Established:
    assert client.established is not None, client.failure
    return client.established


def keys_fit(ours: SessionKeys, theirs: SessionKeys) -> bool:
    """What one side seals the other opens, both ways, on both channels."""
    for direction in Direction:
        for channel in Channel:
            sealed = ours.key(direction, channel).seal(7, b"header", b"hello there")
            if theirs.key(direction, channel).open(7, b"header", sealed) != b"hello there":
                return False
    return True


class Corridor:
    """One client, one listener, two links. Checks at every step that an unproven address gets less than it sent."""

    def __init__(
        self,
        client: ClientHandshake,
        listener: HandshakeListener,
        *,
        seed: int | str = 1,
        up: LinkConditions | None = None,
        down: LinkConditions | None = None,
    ) -> None:
        self.client = client
        self.listener = listener
        self.now_us = 0
        self.hellos_sent = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.on_way_down: Callable[[bytes], list[bytes]] = lambda data: [data]
        self._up: Link[bytes] = Link(up or LinkConditions(delay_us=10 * MS), f"{seed}/up")
        self._down: Link[bytes] = Link(down or LinkConditions(delay_us=10 * MS), f"{seed}/down")

    def run(self, until_us: int) -> None:
        """Until the client is through, or until so late."""
        self._drain()
        while self.client.established is None and self.client.failure is None:
            timeout_us = self.client.poll_timeout()
            assert timeout_us is not None
            times = [timeout_us - CLIENT_START_US, self._up.poll_timeout(), self._down.poll_timeout()]
            next_us = min(time for time in times if time is not None)
            if next_us > until_us:
                return
            self.now_us = max(self.now_us, next_us)
            self._turn()

    def _turn(self) -> None:
        while (data := self._up.poll_delivery(self.now_us)) is not None:
            self.bytes_in += len(data)
            reply = self.listener.handle_datagram(SERVER_START_US + self.now_us, ADDRESS, data)
            if reply is not None:
                self.bytes_out += len(reply)
                for datagram in self.on_way_down(reply):
                    self._down.send(self.now_us, datagram, len(datagram))
            assert self.bytes_out < self.bytes_in
        while (data := self._down.poll_delivery(self.now_us)) is not None:
            self.client.handle_datagram(CLIENT_START_US + self.now_us, data)
            self._drain()
        timeout_us = self.client.poll_timeout()
        if timeout_us is not None and timeout_us - CLIENT_START_US <= self.now_us:
            self.client.handle_timeout(CLIENT_START_US + self.now_us)
            self._drain()

    def _drain(self) -> None:
        while (data := self.client.poll_transmit()) is not None:
            self.hellos_sent += 1
            self._up.send(self.now_us, data, len(data))
