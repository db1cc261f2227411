"""How large a datagram the path carries, found by asking (DPLPMTUD, RFC 8899): no ICMP is believed and nothing fragments.

A probe is a PING padded to the size in question; its PONG says that the size passes. Sizes are tried upwards until one
fails PROBES_MAX times. The size in use is asked for again every few seconds: a route may change to one that carries
less, and tells nobody. When that fails as often, the base size is used, and the search begins anew some time later. Probes
that a bad network loses cost size, never data.
"""

from udpconf.limits import DATAGRAM_DEFAULT_BYTES, DATAGRAM_MAX_BYTES, MS, SECOND

# IPv6's least MTU and Ethernet's, each less 48 for IPv6 and UDP, and in between what tunnels leave.
PROBE_SIZES = (1232, 1352, DATAGRAM_MAX_BYTES)
PROBES_MAX = 3  # RFC 8899, section 5.1.2: MAX_PROBES
# A probe is not missed before; a PONG may wait for a busy machine.
TIMEOUT_MIN_US = 100 * MS
# How long a path that carries less than before may swallow what is too large; 4 kbit/s of probes.
CONFIRM_INTERVAL_US = 3 * SECOND
# When a size that failed is tried again. RFC 8899 has 600 s, but here an outage, which fails as well, is more likely than
# a path that never carries it, and three probes are nothing beside video.
RAISE_AFTER_US = 30 * SECOND


class PathMtu:
    """One session's search, at the end that sends the large datagrams.

    Attributes:
        datagram_bytes: the largest UDP payload that is known to pass.
    """

    def __init__(self, now_us: int) -> None:
        self.datagram_bytes = DATAGRAM_DEFAULT_BYTES
        self._ceiling_bytes = DATAGRAM_MAX_BYTES  # nothing above has passed of late
        self._raise_at_us = 0
        self._asked_bytes = 0  # by the probe that is out; 0: none is
        self._asked_us = 0
        self._failures = 0
        self._probe_at_us = now_us

    def poll_probe(self, now_us: int, timeout_us: int) -> int | None:
        """The size of the PING that is to be sent now, if any; ``timeout_us``: by when its PONG would be here."""
        if now_us < self._probe_at_us:
            return None
        if self._asked_bytes:
            self._fail(now_us)
        if now_us >= self._raise_at_us:
            self._ceiling_bytes = DATAGRAM_MAX_BYTES
        size = self._next_size()
        if size is None:
            self._probe_at_us = self._raise_at_us
            return None
        self._asked_bytes = size
        self._probe_at_us = now_us + max(TIMEOUT_MIN_US, timeout_us)
        return size

    def handle_sent(self, ping_sent_us: int) -> None:
        """The PING that ``poll_probe`` asked for bears this time."""
        self._asked_us = ping_sent_us

    def handle_pong(self, ping_sent_us: int, now_us: int) -> None:
        """A PING was answered: perhaps the probe."""
        if not self._asked_bytes or ping_sent_us != self._asked_us:
            return
        self.datagram_bytes = self._asked_bytes
        self._asked_bytes = self._failures = 0
        searching = self._next_size() != self.datagram_bytes
        self._probe_at_us = now_us if searching else now_us + CONFIRM_INTERVAL_US

    def poll_timeout(self) -> int:
        return self._probe_at_us

    def _next_size(self) -> int | None:
        """The next one up, or the one in use, to see that it still passes. None: the base size needs no proof."""
        for size in PROBE_SIZES:
            if self.datagram_bytes < size <= self._ceiling_bytes:
                return size
        return self.datagram_bytes if self.datagram_bytes > DATAGRAM_DEFAULT_BYTES else None

    def _fail(self, now_us: int) -> None:
        self._failures += 1
        if self._failures < PROBES_MAX:
            return
        if self._asked_bytes == self.datagram_bytes:
            self.datagram_bytes = DATAGRAM_DEFAULT_BYTES
        self._ceiling_bytes = self.datagram_bytes
        self._raise_at_us = now_us + RAISE_AFTER_US
        self._asked_bytes = self._failures = 0
