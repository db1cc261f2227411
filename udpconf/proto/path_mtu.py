"""How large a datagram the path carries, found by asking (DPLPMTUD, RFC 8899): no ICMP is believed and nothing fragments.

A probe is a PING padded to the size in question; its PONG, however late, says that the size passes. Sizes are tried
upwards until one fails PROBES_MAX times. The size in use is asked for again every few seconds: a route may change to one
that carries less, and tells nobody. When that fails as often, the base size is used. What failed is tried again, soon at
first, since an outage fails as well, then seldom. Probes that a bad network loses cost size, never data.
"""

from udpconf.limits import DATAGRAM_DEFAULT_BYTES, DATAGRAM_MAX_BYTES, MS, SECOND

# IPv6's least MTU and Ethernet's, each less 48 for IPv6 and UDP, and in between what tunnels leave.
PROBE_SIZES = (1232, 1352, DATAGRAM_MAX_BYTES)
PROBES_MAX = 3  # RFC 8899, section 5.1.2: MAX_PROBES
# How long a path that carries less than before may swallow what is too large before anybody asks; 4 kbit/s of probes.
CONFIRM_INTERVAL_US = 3 * SECOND
# When a probe is missed. Video is being lost when the size in use fails, so it is quicker there than RFC 8899's second.
CONFIRM_RETRY_US = 500 * MS
SEARCH_RETRY_US = 1 * SECOND
# A round trip longer than this is waited for no longer; its PONG counts all the same.
TIMEOUT_MAX_US = 1 * SECOND
# When a size that failed is tried again: doubling from the one to the other.
RAISE_AFTER_US = (2 * SECOND, 60 * SECOND)


class PathMtu:
    """One session's search, at the end that sends the large datagrams.

    Attributes:
        datagram_bytes: the largest UDP payload that is known to pass.
    """

    def __init__(self, now_us: int) -> None:
        self.datagram_bytes = DATAGRAM_DEFAULT_BYTES
        self._ceiling_bytes = DATAGRAM_MAX_BYTES  # nothing above has passed of late
        self._raise_at_us = 0
        self._raise_after_us = RAISE_AFTER_US[0]
        self._asked_bytes = 0  # by the probes that are out; 0: none is
        self._asked_us: list[int] = []  # when each of them left
        self._probe_at_us = now_us

    def poll_probe(self, now_us: int, timeout_us: int) -> int | None:
        """The size of the PING that is to be sent now, if any; ``timeout_us``: by when its PONG should be here."""
        if now_us < self._probe_at_us:
            return None
        if len(self._asked_us) == PROBES_MAX:
            self._fail(now_us)
        if not self._asked_us:
            if now_us >= self._raise_at_us:
                self._ceiling_bytes = DATAGRAM_MAX_BYTES
            self._asked_bytes = self._next_size()
            if not self._asked_bytes:
                self._probe_at_us = self._raise_at_us
                return None
        retry_us = CONFIRM_RETRY_US if self._asked_bytes == self.datagram_bytes else SEARCH_RETRY_US
        self._probe_at_us = now_us + max(retry_us, min(timeout_us, TIMEOUT_MAX_US))
        return self._asked_bytes

    def handle_sent(self, ping_sent_us: int) -> None:
        """The PING that ``poll_probe`` asked for bears this time."""
        self._asked_us.append(ping_sent_us)

    def handle_pong(self, ping_sent_us: int, now_us: int) -> None:
        """A PING was answered: perhaps a probe."""
        if ping_sent_us not in self._asked_us:
            return
        if self._asked_bytes > self.datagram_bytes:
            self._raise_after_us = RAISE_AFTER_US[0]
        self.datagram_bytes = self._asked_bytes
        self._asked_us.clear()
        searching = self._next_size() != self.datagram_bytes
        self._probe_at_us = now_us if searching else now_us + CONFIRM_INTERVAL_US

    def poll_timeout(self) -> int:
        return self._probe_at_us

    def _next_size(self) -> int:
        """The next one up, or the one in use, to see that it still passes; 0: the base size needs no proof."""
        for size in PROBE_SIZES:
            if self.datagram_bytes < size <= self._ceiling_bytes:
                return size
        return self.datagram_bytes if self.datagram_bytes > DATAGRAM_DEFAULT_BYTES else 0

    def _fail(self, now_us: int) -> None:
        if self._asked_bytes == self.datagram_bytes:
            self.datagram_bytes = DATAGRAM_DEFAULT_BYTES
        self._asked_us.clear()
        self._ceiling_bytes = self.datagram_bytes
        self._raise_at_us = now_us + self._raise_after_us
        self._raise_after_us = min(2 * self._raise_after_us, RAISE_AFTER_US[1])
