"""The client's half of the handshake: HELLO, HELLO with a cookie, and an ACCEPT that opens or does not.

    HELLO ──RETRY──► HELLO with cookie ──ACCEPT that opens──► established
                              └──ACCEPT that does not──► a fresh attempt; the third time: refused

An attempt is one key share under one connection id. An ACCEPT that does not open means a wrong passphrase, or a forger:
the client then starts afresh at once but keeps the attempt, so that the right ACCEPT, which may be right behind, still
counts. REJECT is a hint that anybody on the path could have written: it ends the handshake only when nothing better
comes for some seconds. "Unreachable" is for the caller to say, who knows how long it wants to wait.
"""

from collections import Counter, deque
from typing import Literal, NamedTuple

from udpconf.limits import CONFIRM_FAILURES_CLIENT, HALF_OPEN_LIFE_US, MS, SECOND
from udpconf.proto.cpace import SCALAR_BYTES, exchange
from udpconf.proto.crypto import SUITES, Entropy, SessionKeys, Suite, agree
from udpconf.proto.room import Room
from udpconf.wire.envelope import MalformedPacket
from udpconf.wire.handshake import (
    ACCEPT,
    ACCEPT_HEADER_BYTES,
    CONNECTION_ID_BYTES,
    REJECT,
    RETRY,
    Hello,
    RejectReason,
    ServerParameters,
    decode_accept_untrusted,
    decode_parameters_untrusted,
    decode_reject_untrusted,
    decode_retry_untrusted,
    encode_hello,
)

Failure = Literal["refused", "full", "version"]

# A HELLO is repeated after 100 ms, then each time half as long again, up to a second; every wait is 25 % longer or
# shorter by chance, or clients of a restarted server would knock in step. Chosen, not measured.
RESEND_FIRST_US = 100 * MS
RESEND_MAX_US = 1 * SECOND
# So long a client believes that there is something better to come than a REJECT. A server that was busy is not when its
# half-open sessions have run out, as they do after someone has tried wrong passphrases.
REJECT_PATIENCE_US = {
    RejectReason.BUSY: HALF_OPEN_LIFE_US + 1 * SECOND,
    RejectReason.FULL: 3 * SECOND,
    RejectReason.VERSION: 3 * SECOND,
}
# A server repeats an ACCEPT three times and no more; when all four were lost only a fresh attempt helps. Longer than
# the longest round trip to be expected (1.5 s by satellite or through a full buffer).
ATTEMPT_LIFE_US = 3 * SECOND
# Each RETRY on a slow path may bring another cookie, and the ACCEPT may answer any of those HELLOs.
_HELLOS_REMEMBERED = 4


class Established(NamedTuple):
    """A session that the server has agreed to. It learns that we have the keys from our first packet."""

    session_id: int
    keys: SessionKeys
    parameters: ServerParameters
    server_time_us: (
        int  # the server's monotonic clock when it first accepted: a hint, until a PING is answered
    )
    rtt_us: int  # at most so long is a round trip


class _Attempt:
    """One key share, the HELLOs that carried it, and whether it met an ACCEPT that did not open."""

    __slots__ = ("connection_id", "cookie", "failed", "hellos", "key_share", "phase_started_us", "scalar")

    def __init__(self, connection_id: bytes, scalar: bytes, key_share: bytes, now_us: int) -> None:
        self.connection_id = connection_id
        self.scalar = scalar
        self.key_share = key_share
        self.cookie = b""
        self.hellos: deque[bytes] = deque(maxlen=_HELLOS_REMEMBERED)  # with a cookie, as sent
        self.phase_started_us = (
            now_us  # when the first HELLO of this kind, without or with a cookie, went out
        )
        self.failed = False


class ClientHandshake:
    """Drive with ``handle_*``, drain ``poll_transmit``, until ``established`` or ``failure`` is set."""

    def __init__(
        self,
        room: Room,
        now_us: int,
        entropy: Entropy,
        *,
        null_cipher: bool = False,
        suites: tuple[Suite, ...] = SUITES,
    ) -> None:
        self.established: Established | None = None
        self.failure: Failure | None = None
        self.counters: Counter[str] = Counter()  # datagrams that led nowhere, by reason
        self._room = room
        self._entropy = entropy
        self._null_cipher = null_cipher
        self._suites = sum(suites)
        # The newest last; it alone sends, the others only wait for an ACCEPT on its way.
        self._attempts: deque[_Attempt] = deque(maxlen=CONFIRM_FAILURES_CLIENT)
        self._failures = 0
        self._rtt_us: int | None = None
        self._rejected: tuple[int, RejectReason] | None = None  # when to give up, and why
        self._resend_after_us = RESEND_FIRST_US
        self._resend_at_us = now_us
        self._outgoing: bytes | None = None
        self._begin(now_us)

    # --- inputs ---

    def handle_datagram(self, now_us: int, data: bytes) -> None:
        """Take a handshake datagram (first byte below 0x80) from the network; never raises."""
        if self._over or not data:
            return
        try:
            if data[0] == RETRY:
                self._handle_retry(now_us, data)
            elif data[0] == ACCEPT:
                self._handle_accept(now_us, data)
            elif data[0] == REJECT:
                self._handle_reject(now_us, data)
            else:
                raise MalformedPacket("handshake type")
        except MalformedPacket as malformed:
            self.counters[malformed.reason] += 1

    def handle_timeout(self, now_us: int) -> None:
        """Resend, start afresh or give up, whatever is due."""
        if self._over:
            return
        if self._rejected is not None and now_us >= self._rejected[0]:
            self.failure = "version" if self._rejected[1] is RejectReason.VERSION else "full"
            if self._failures:
                self.failure = "refused"  # what it did get, it could not open
        elif now_us >= self._resend_at_us:
            newest = self._attempts[-1]
            if newest.cookie and now_us - newest.phase_started_us >= ATTEMPT_LIFE_US:
                self._begin(now_us)
            else:
                self._send(now_us)

    # --- outputs ---

    def poll_transmit(self) -> bytes | None:
        """The next datagram for the server, if any."""
        data, self._outgoing = self._outgoing, None
        return data

    def poll_timeout(self) -> int | None:
        """When to call ``handle_timeout``; None when all is over."""
        if self._over:
            return None
        return self._resend_at_us if self._rejected is None else min(self._resend_at_us, self._rejected[0])

    @property
    def client_connection_id(self) -> bytes:
        """The id of the newest attempt, or of the one that succeeded: 8 bytes, fresh each time."""
        return self._attempts[-1].connection_id

    # --- inside ---

    @property
    def _over(self) -> bool:
        return self.established is not None or self.failure is not None

    def _begin(self, now_us: int) -> None:
        """Start an attempt with fresh secrets."""
        connection_id = self._entropy(CONNECTION_ID_BYTES)
        key_share = None
        while key_share is None:  # the generator is of high order, so once is enough
            scalar = self._entropy(SCALAR_BYTES)
            key_share = exchange(scalar, self._room.generator)
        self._attempts.append(_Attempt(connection_id, scalar, key_share, now_us))
        self._resend_after_us = RESEND_FIRST_US
        self._send(now_us)

    def _send(self, now_us: int) -> None:
        """Send the newest attempt's HELLO and set the timer for the next."""
        room, attempt = self._room, self._attempts[-1]
        hello = encode_hello(
            Hello(
                self._suites,
                room.mode,
                attempt.connection_id,
                attempt.key_share,
                room.selector,
                attempt.cookie,
            ),
            room.mac1_key,
        )
        if attempt.cookie and hello not in attempt.hellos:
            attempt.hellos.append(hello)
        self._outgoing = hello
        chance = self._entropy(1)[0]
        self._resend_at_us = now_us + self._resend_after_us * (384 + chance) // 512
        self._resend_after_us = min(RESEND_MAX_US, self._resend_after_us * 3 // 2)

    def _handle_retry(self, now_us: int, data: bytes) -> None:
        retry = decode_retry_untrusted(data, self._room.mac1_key)
        attempt = self._attempts[-1]
        if retry.client_connection_id != attempt.connection_id:
            raise MalformedPacket("connection id")
        first, attempt.cookie = not attempt.cookie, retry.cookie
        if first:
            self._measure(now_us, attempt)
            attempt.phase_started_us = now_us
            assert self._rtt_us is not None
            self._resend_after_us = min(RESEND_MAX_US, max(RESEND_FIRST_US, self._rtt_us * 3 // 2))
            self._send(now_us)
        # A later RETRY says that the cookie was too old, or answers a HELLO sent before it came. Its cookie goes out
        # with the timer: answering at once would make two hosts that disagree send as fast as the network carries.

    def _handle_accept(self, now_us: int, data: bytes) -> None:
        header = decode_accept_untrusted(data)
        attempt = self._attempt(header.client_connection_id)
        if header.mode != self._room.mode or not header.suite & self._suites:
            raise MalformedPacket("accept choice")
        try:
            suite = Suite(header.suite)
        except ValueError:
            raise MalformedPacket("accept choice") from None
        shared_point = exchange(attempt.scalar, header.key_share)
        if shared_point is None:
            raise MalformedPacket("invalid point")
        for hello in attempt.hellos:
            agreement = agree(shared_point, hello, data, suite, null_cipher=self._null_cipher)
            opened = agreement.open_parameters(data[ACCEPT_HEADER_BYTES:])
            if opened is not None:
                self._measure(now_us, attempt)
                assert self._rtt_us is not None
                parameters, server_us = decode_parameters_untrusted(opened)
                self._attempts.append(attempt)  # the newest is the one that counts
                self._outgoing = None
                self.established = Established(
                    header.session_id, agreement.keys, parameters, server_us, self._rtt_us
                )
                return
        self.counters["accept did not open"] += 1
        if attempt.hellos and not attempt.failed:
            attempt.failed = True
            self._failures += 1
            if self._failures >= CONFIRM_FAILURES_CLIENT:
                self.failure = "refused"
                self._outgoing = None
            else:
                self._begin(now_us)

    def _handle_reject(self, now_us: int, data: bytes) -> None:
        reject = decode_reject_untrusted(data, self._room.mac1_key)
        self._attempt(reject.client_connection_id)
        self.counters["rejected"] += 1
        if self._rejected is None:
            self._rejected = (now_us + REJECT_PATIENCE_US[reject.reason], reject.reason)

    def _attempt(self, connection_id: bytes) -> _Attempt:
        """Find what a datagram answers. An 8-byte random id is all that a forger off the path lacks."""
        for attempt in self._attempts:
            if attempt.connection_id == connection_id:
                return attempt
        raise MalformedPacket("connection id")

    def _measure(self, now_us: int, attempt: _Attempt) -> None:
        """A round trip lasted at most since the first HELLO of its kind; which of several was answered is unknown."""
        sample_us = now_us - attempt.phase_started_us
        self._rtt_us = sample_us if self._rtt_us is None else min(self._rtt_us, sample_us)
