"""The server's half of the handshake: a RETRY for every stranger, an ACCEPT for those who come back with its cookie.

Order of work, the cheap first: length, type and mac1 (7 us); the cookie (10 us, and 15 us to bake one); places and
limits; and only then curve arithmetic (0.35 ms) and memory. A HELLO can create a half-open session and nothing else: no session that exists, half-open or
not, changes through one. What goes back to an address is always less than what came from it. Everything that is wrong
is counted by reason and otherwise met with silence.
"""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from udpconf.limits import (
    ACCEPT_REPEATS,
    CONFIRM_FAILURES_CLIENT,
    HALF_OPEN_LIFE_US,
    HALF_OPEN_MAX,
    HALF_OPEN_PER_SOURCE,
)
from udpconf.proto.cookie import CookieJar, ip_bytes
from udpconf.proto.cpace import SCALAR_BYTES, exchange
from udpconf.proto.crypto import SUITES, Entropy, SessionKeys, Suite, agree
from udpconf.proto.events import Address, ClientRefused
from udpconf.proto.refusals import RefusalsTold
from udpconf.proto.room import Room
from udpconf.wire.envelope import MalformedPacket
from udpconf.wire.handshake import (
    BOOT_ID_BYTES,
    AcceptHeader,
    Hello,
    Mode,
    Reject,
    RejectReason,
    Retry,
    ServerParameters,
    UnknownVersion,
    decode_hello_untrusted,
    encode_accept_header,
    encode_parameters,
    encode_reject,
    encode_retry,
)

# 32 random bits are free at the first try, unless the source of randomness is broken: then nobody gets in.
_SESSION_ID_TRIES = 8
# A client without a passphrase at a server with one is answered like one with a wrong passphrase: the keys differ.
_MODES = (Mode.OPEN, Mode.PASSPHRASE)

# Who knocks, the same in each copy of a HELLO: address, port, connection id, key share.
_Knock = tuple[bytes, int, bytes, bytes]


class HalfOpen(NamedTuple):
    """A client that we accepted and that has yet to show that it has the keys."""

    session_id: int
    client_connection_id: bytes
    keys: SessionKeys
    address: Address
    accepted_us: int


class _Slot:
    """A half-open session, and the ACCEPT to repeat when the client did not get it."""

    __slots__ = ("accept", "half_open", "knock", "repeats_left", "source")

    def __init__(self, half_open: HalfOpen, accept: bytes, knock: _Knock, source: bytes) -> None:
        self.half_open = half_open
        self.accept = accept
        self.knock = knock
        self.source = source
        self.repeats_left = ACCEPT_REPEATS


class HandshakeListener:
    """Answers HELLOs and keeps the half-open sessions, at most 64 of them, 4 a source, 5 s each."""

    def __init__(
        self,
        room: Room,
        now_us: int,
        entropy: Entropy,
        *,
        in_use: Callable[[int], bool],
        is_full: Callable[[], bool],
        parameters: ServerParameters | None = None,
        null_cipher: bool = False,
        suites: tuple[Suite, ...] = SUITES,
    ) -> None:
        self.counters: Counter[str] = Counter()  # what became of every datagram, by reason
        self.parameters = parameters or ServerParameters(entropy(BOOT_ID_BYTES))
        self._room = room
        self._entropy = entropy
        self._in_use = in_use  # a session id belongs to an open session
        self._is_full = is_full  # no place for another client
        self._null_cipher = null_cipher
        self._suites = suites
        self._cookies = CookieJar(now_us, entropy)
        self._slots: dict[int, _Slot] = {}  # by session id, the oldest first
        self._knocks: dict[_Knock, _Slot] = {}
        self._refusals = RefusalsTold()
        self._refused: ClientRefused | None = None

    # --- inputs ---

    def handle_datagram(self, now_us: int, address: Address, data: bytes) -> bytes | None:
        """Take a datagram that is not a protected packet; returns the reply for its sender, if any. Never raises."""
        self.handle_timeout(now_us)
        room = self._room
        try:
            hello = decode_hello_untrusted(data, room.mac1_key)
        except UnknownVersion as unknown:
            return self._reject(RejectReason.VERSION, unknown.client_connection_id)
        except MalformedPacket as malformed:
            self.counters[malformed.reason] += 1
            return None
        if hello.selector != room.selector or hello.mode not in _MODES:
            self.counters["other room"] += 1
            return None
        if not self._cookies.accepts(
            now_us, hello.cookie, address, hello.client_connection_id, hello.key_share
        ):
            self.counters["stale cookie" if hello.cookie else "no cookie"] += 1
            cookie = self._cookies.bake(now_us, address, hello.client_connection_id, hello.key_share)
            return encode_retry(Retry(hello.client_connection_id, cookie), room.mac1_key)
        return self._answer(now_us, address, hello, data)

    def handle_timeout(self, now_us: int) -> None:
        """Forget half-open sessions that are older than five seconds."""
        while self._slots:
            oldest = next(iter(self._slots.values())).half_open
            if now_us - oldest.accepted_us < HALF_OPEN_LIFE_US:
                break
            self.take(oldest.session_id)
            self.counters["never confirmed"] += 1

    def poll_refused(self) -> ClientRefused | None:
        """Whom the last datagram showed to have another key, if that is to be told. Ask after every datagram."""
        refused, self._refused = self._refused, None
        return refused

    # --- half-open sessions ---

    def find(self, session_id: int) -> HalfOpen | None:
        """Look one up; changes nothing, so any packet may ask."""
        slot = self._slots.get(session_id)
        return None if slot is None else slot.half_open

    def take(self, session_id: int) -> HalfOpen | None:
        """Remove one, because its session has opened."""
        slot = self._slots.pop(session_id, None)
        if slot is None:
            return None
        del self._knocks[slot.knock]
        return slot.half_open

    def __len__(self) -> int:
        return len(self._slots)

    # --- inside ---

    def _answer(self, now_us: int, address: Address, hello: Hello, data: bytes) -> bytes | None:
        """Accept or reject somebody whose cookie is good."""
        ip = ip_bytes(address)
        knock = (ip, address[1], hello.client_connection_id, hello.key_share)
        known = self._knocks.get(knock)
        if known is not None:
            if not known.repeats_left:
                self.counters["accept repeated enough"] += 1
                return None
            known.repeats_left -= 1
            self.counters["accept repeated"] += 1
            return known.accept
        suite = next((suite for suite in self._suites if suite & hello.suites), None)
        if suite is None:
            return self._reject(RejectReason.VERSION, hello.client_connection_id)
        if self._is_full():
            return self._reject(RejectReason.FULL, hello.client_connection_id)
        source = _source(ip)
        from_source = sum(slot.source == source for slot in self._slots.values())
        if len(self._slots) >= HALF_OPEN_MAX or from_source >= HALF_OPEN_PER_SOURCE:
            return self._reject(RejectReason.BUSY, hello.client_connection_id)
        return self._accept(now_us, address, hello, data, suite, knock, source)

    def _accept(
        self,
        now_us: int,
        address: Address,
        hello: Hello,
        data: bytes,
        suite: Suite,
        knock: _Knock,
        source: bytes,
    ) -> bytes | None:
        session_id = self._new_session_id()
        scalar = self._entropy(SCALAR_BYTES)
        shared_point = exchange(scalar, hello.key_share)
        key_share = exchange(scalar, self._room.generator)
        if shared_point is None or key_share is None:
            self.counters["invalid point"] += 1
            return None
        if session_id is None:
            self.counters["no session id"] += 1
            return None
        header = encode_accept_header(
            AcceptHeader(suite, hello.mode, hello.client_connection_id, session_id, key_share)
        )
        agreement = agree(shared_point, data, header, suite, null_cipher=self._null_cipher)
        accept = header + agreement.seal_parameters(encode_parameters(self.parameters, now_us))
        half_open = HalfOpen(session_id, hello.client_connection_id, agreement.keys, address, now_us)
        slot = _Slot(half_open, accept, knock, source)
        self._slots[session_id] = self._knocks[knock] = slot
        self.counters["accepted"] += 1
        self._look_refused(now_us, address, slot)
        return accept

    def _look_refused(self, now_us: int, address: Address, new: _Slot) -> None:
        """A wrong key looks like this from here: a client that cannot open our ACCEPT says nothing of it, but starts afresh
        at once, until the third fails. With the right key one confirms, or asks again 3 s later if no ACCEPT came, so
        three at a time from one address and port are next to impossible. That address has proved itself by its cookie.
        """
        asked = sum(slot.knock[:2] == new.knock[:2] for slot in self._slots.values())
        if asked >= CONFIRM_FAILURES_CLIENT and self._refusals.tell(now_us, new.source):
            self._refused = ClientRefused((address[0], address[1]))

    def _new_session_id(self) -> int | None:
        for _ in range(_SESSION_ID_TRIES):
            session_id = int.from_bytes(self._entropy(4), "big")
            if session_id not in self._slots and not self._in_use(session_id):
                return session_id
        return None

    def _reject(self, reason: RejectReason, connection_id: bytes) -> bytes:
        self.counters[f"rejected: {reason.name.lower()}"] += 1
        return encode_reject(Reject(reason, connection_id), self._room.mac1_key)


def _source(ip: bytes) -> bytes:
    """Whom a limit counts as one: an IPv4 address, or the /64 that an IPv6 subscriber has to himself."""
    return ip if ip.startswith(bytes(10)) else ip[:8]
