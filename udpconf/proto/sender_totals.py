"""What a sender has done, over all its sessions, and how the server says that it fared: the numbers of ``SenderStats``.

A session begins its counts at nothing, and a client that loses its server begins a new one; what the user is shown
goes on growing.
"""

from udpconf.limits import DATAGRAM_DEFAULT_BYTES, MS
from udpconf.proto.session import Session
from udpconf.proto.stats import Recent, SenderStats
from udpconf.wire.frames import Feedback


class SenderTotals:
    """Of one client, from its first session to its last.

    Attributes:
        counts: what the endpoint counts itself; the rest of it is filled in by ``snapshot``.
    """

    def __init__(self) -> None:
        self.counts = SenderStats()
        self._recent = Recent()
        self._loss = Recent()
        self._feedback: Feedback | None = None
        self._earlier_bytes = self._earlier_packets = 0  # of the sessions before this one

    def session_begins(self) -> None:
        """The server counts anew, too."""
        self._feedback = None
        self._loss = Recent()

    def session_ends(self, session: Session) -> None:
        self._earlier_bytes += session.counters.bytes_sent
        self._earlier_packets += session.counters.packets_sent

    def handle_feedback(self, now_us: int, feedback: Feedback) -> None:
        self._feedback = feedback
        self._loss.mark(now_us, feedback.packets_received, feedback.packets_lost)

    def mark(self, now_us: int, session: Session) -> None:
        """Now and then, for the rate of the last seconds."""
        self._recent.mark(now_us, self._bytes_sent(session))

    def snapshot(self, now_us: int, session: Session | None) -> SenderStats:
        """``counts``, filled in; it is the same object each time."""
        stats = self.counts
        stats.bytes_sent = self._bytes_sent(session)
        stats.packets_sent = self._earlier_packets + (0 if session is None else session.counters.packets_sent)
        stats.datagram_bytes = DATAGRAM_DEFAULT_BYTES if session is None else session.datagram_bytes
        if session is not None:
            rtt_us = session.round_trip.latest_rtt_us
            stats.rtt_ms = None if rtt_us is None else session.round_trip.smoothed_rtt_us / MS
        seconds, (grown,) = self._recent.since(now_us, stats.bytes_sent)
        stats.sent_kbps = grown * 8 / 1000 / seconds if seconds else 0.0
        if self._feedback is not None:
            seen = self._feedback
            _, (received, lost) = self._loss.since(now_us, seen.packets_received, seen.packets_lost)
            stats.server_loss_share = max(0.0, lost) / (received + lost) if received + lost > 0 else 0.0
            stats.server_frames_whole = seen.frames_whole
            stats.server_frames_with_holes = seen.frames_with_holes
            stats.server_frames_skipped = seen.frames_skipped
            stats.server_playout_delay_ms = seen.playout_delay_us / MS
        return stats

    def _bytes_sent(self, session: Session | None) -> int:
        return self._earlier_bytes + (0 if session is None else session.counters.bytes_sent)
