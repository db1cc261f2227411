"""What a sender has done, over all its sessions, and how the server says that it fared: the numbers of ``SenderStats``.

A session begins its counts at nothing, and a client that loses its server begins a new one; what the user is shown
goes on growing.
"""

from collections import deque
from collections.abc import Iterable, Sequence

from udpconf.limits import DATAGRAM_DEFAULT_BYTES, MS, SECOND
from udpconf.proto.loss_estimate import LossEstimate
from udpconf.proto.session import Session
from udpconf.proto.stats import Recent, SenderStats
from udpconf.wire.envelope import OVERHEAD_BYTES
from udpconf.wire.frames import ANSWERS_REPAIR, Feedback, VideoShard

# Where a VIDEO frame says what it is (docs/protocol.md): block, shard index, data shards, the low byte of its interval count.
_BLOCK_AT, _INDEX_AT, _DATA_SHARDS_AT, _COUNT_AT = 6, 8, 9, 26
IP_UDP_BYTES = 48  # of a datagram over IPv6; IPv4 takes 20 less
# So few packets come back that a shorter look would see chance.
BACK_WINDOW_US = 30 * SECOND
# Half of a fall is believed after some 14 frames.
_PARITY_SHARE_GAIN = 0.05


class SenderTotals:
    """Of one client, from its first session to its last.

    Attributes:
        counts: what the endpoint counts itself; the rest of it is filled in by ``snapshot``.
        parity_share: bytes of parity and repair to a byte of data, for whoever reserves room for them. That of parity rises at
            once and falls slowly, so that the next frame is no surprise; that of repair is a mean.
    """

    def __init__(self) -> None:
        self.counts = SenderStats()
        self._recent = Recent()
        self._loss, self._loss_back = LossEstimate(), LossEstimate(BACK_WINDOW_US)
        self._feedback: Feedback | None = None
        self._earlier_bytes = self._earlier_packets = 0  # of the sessions before this one
        self._parity_share = self._repair_share = 0.0
        self._new_repair_bytes = 0  # since the last frame
        # In all, as UDP payload.
        self._picture_bytes = self._parity_bytes = self._repair_bytes = self._sound_bytes = 0
        self._second: deque[tuple[int, int]] = (
            deque()
        )  # of the last second: when, and what had been sent by then

    def session_begins(self) -> None:
        """The server counts anew, too."""
        self._feedback = None
        self._second.clear()
        self._loss, self._loss_back = LossEstimate(), LossEstimate(BACK_WINDOW_US)

    def session_ends(self, session: Session) -> None:
        self._earlier_bytes += session.counters.bytes_sent
        self._earlier_packets += session.counters.packets_sent

    def frame_queued(self, data: Sequence[VideoShard], parity_share: float) -> None:
        """It waits in the pacer; frames like it get so much parity on average, bytes to a byte of data."""
        data_bytes = sum(len(shard.payload) for shard in data)
        falling = self._parity_share + (parity_share - self._parity_share) * _PARITY_SHARE_GAIN
        self._parity_share = max(parity_share, falling)
        self._repair_share += (self._new_repair_bytes / data_bytes - self._repair_share) * _PARITY_SHARE_GAIN
        self._new_repair_bytes = 0

    @property
    def parity_share(self) -> float:
        return self._parity_share + self._repair_share

    def sent_in_a_second(self, now_us: int, session: Session) -> int:
        """Bytes sent in the last second, IP headers included. Ask often: it knows the moments at which it was asked."""
        counters, second = session.counters, self._second
        total = counters.bytes_sent + IP_UDP_BYTES * counters.packets_sent
        second.append((now_us, total))
        while second[0][0] < now_us - SECOND:
            second.popleft()
        return total - second[0][1]

    def answer_queued(self, shards: Sequence[VideoShard]) -> None:
        """To one request."""
        self.counts.repairs_asked += 1
        self._new_repair_bytes += sum(len(shard.payload) for shard in shards)

    def shards_sent(self, plaintexts: Iterable[bytes]) -> None:
        """They leave the pacer, which drops frames when it is full."""
        counts = self.counts
        for plaintext in plaintexts:
            size = len(plaintext) + OVERHEAD_BYTES
            if plaintext[_INDEX_AT] < plaintext[_DATA_SHARDS_AT]:
                counts.frames_sent += plaintext[_BLOCK_AT] == plaintext[_INDEX_AT] == 0  # the first to leave
                counts.data_shards_sent += 1
                self._picture_bytes += size
            elif plaintext[_COUNT_AT] == ANSWERS_REPAIR:
                counts.repair_shards_sent += 1
                self._repair_bytes += size
            else:
                counts.parity_shards_sent += 1
                self._parity_bytes += size

    def sound_sent(self, datagram_bytes: int) -> None:
        self.counts.audio_frames_sent += 1
        self._sound_bytes += datagram_bytes

    def handle_feedback(self, now_us: int, feedback: Feedback, session: Session) -> None:
        self._feedback = feedback
        self._loss.handle_report(now_us, *feedback[:3])
        received = session.counters.packets_received
        self._loss_back.handle_report(now_us, received, session.packets_lost, session.loss_runs)

    def handle_queue(self, *, stands: bool) -> None:
        """Whether more waits on the path than should: then what it loses does not count."""
        self._loss.handle_queue(stands=stands)

    def mark(self, now_us: int, session: Session) -> None:
        """Now and then, for the rate of the last seconds."""
        self._recent.mark(now_us, self._bytes_sent(session), *self._by_kind())

    @property
    def repair_time_us(self) -> int:
        """How long before its deadline the server knows what a frame misses, as it said last; 0 before it has said anything."""
        return 0 if self._feedback is None else self._feedback.repair_time_us

    def expected_loss(self, now_us: int) -> tuple[float, float]:
        """The share of the main port's packets that the path to the server loses, and in runs of how many on average."""
        return self._loss.expected(now_us)

    def request_loss(self, now_us: int) -> float:
        """The share of packets that the path from the server loses."""
        return self._loss_back.share(now_us)

    def snapshot(self, now_us: int, session: Session | None) -> SenderStats:
        """``counts``, filled in; it is the same object each time."""
        stats = self.counts
        stats.bytes_sent = self._bytes_sent(session)
        stats.packets_sent = self._earlier_packets + (0 if session is None else session.counters.packets_sent)
        stats.datagram_bytes = DATAGRAM_DEFAULT_BYTES if session is None else session.datagram_bytes
        if session is not None:
            rtt_us = session.round_trip.latest_rtt_us
            stats.rtt_ms = None if rtt_us is None else session.round_trip.smoothed_rtt_us / MS
        seconds, grown = self._recent.since(now_us, stats.bytes_sent, *self._by_kind())
        per_second = 8 / 1000 / seconds if seconds else 0.0
        rates = (size * per_second for size in grown)
        stats.sent_kbps, stats.picture_kbps, stats.parity_kbps, stats.repair_kbps, stats.sound_kbps = rates
        if self._feedback is not None:
            seen = self._feedback
            stats.server_loss_share = self._loss.share(now_us)
            stats.server_frames_whole = seen.frames_whole
            stats.server_frames_with_holes = seen.frames_with_holes
            stats.server_frames_skipped = seen.frames_skipped
            stats.server_playout_delay_ms = seen.playout_delay_us / MS
        return stats

    def _by_kind(self) -> tuple[int, int, int, int]:
        return self._picture_bytes, self._parity_bytes, self._repair_bytes, self._sound_bytes

    def _bytes_sent(self, session: Session | None) -> int:
        return self._earlier_bytes + (0 if session is None else session.counters.bytes_sent)
