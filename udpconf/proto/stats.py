"""Counters and what is read from them. Plain numbers with the unit in the name; the list is in docs/statistics.md."""

from collections import deque
from dataclasses import dataclass, field

from udpconf.limits import DATAGRAM_DEFAULT_BYTES, SECOND

# The live numbers (rates, loss) look back so far, in steps of so much.
RECENT_US = 5 * SECOND
STEP_US = SECOND // 5


@dataclass(slots=True)
class VideoCounters:
    """Every shard counts once as used, duplicate, late or refused; every frame once as whole, with holes or skipped."""

    shards_received: int = 0
    shards_used: int = 0
    shards_duplicate: int = 0
    shards_late: int = 0
    shards_refused: int = 0
    shards_repaired: int = 0  # of the used: they came because they were asked for
    shards_recovered: int = 0  # computed from parity; not among the received
    repairs_asked: int = 0
    bytes_received: int = 0
    frames_whole: int = 0
    frames_by_parity: int = 0  # of the whole: they would have had holes without it
    frames_by_repair: int = 0  # of the whole: they would have had holes if nobody had asked
    frames_with_holes: int = 0
    frames_skipped: int = 0
    fresh_area_sum: float = 0.0


@dataclass(slots=True)
class AudioCounters:
    """Every Opus frame that arrived counts once as used, duplicate or refused."""

    frames_received: int = 0
    frames_used: int = 0
    frames_from_copies: int = 0
    frames_duplicate: int = 0
    frames_refused: int = 0


@dataclass(slots=True)
class SessionCounters:
    packets_received: int = 0
    packets_lost: int = 0  # gaps in the packet numbers that never filled
    packets_duplicate: int = 0
    packets_undecryptable: int = 0
    packets_malformed: int = 0
    packets_sent: int = 0
    bytes_sent: int = 0  # UDP payload
    bytes_received: int = 0


class Recent:
    """Differences of growing totals over the last seconds."""

    def __init__(self, window_us: int = RECENT_US) -> None:
        self._window_us = window_us
        self._marks: deque[tuple[int, tuple[float, ...]]] = deque()

    def mark(self, now_us: int, *totals: float) -> None:
        if self._marks and now_us - self._marks[-1][0] < STEP_US:
            return
        self._marks.append((now_us, totals))
        while len(self._marks) > 2 and now_us - self._marks[1][0] >= self._window_us:
            self._marks.popleft()

    def since(self, now_us: int, *totals: float) -> tuple[float, tuple[float, ...]]:
        """Seconds looked back, and how much each total grew in them."""
        if not self._marks:
            return 0.0, tuple(0.0 for _ in totals)
        at_us, before = self._marks[0]
        return (now_us - at_us) / SECOND, tuple(new - old for new, old in zip(totals, before, strict=True))


@dataclass(slots=True)
class ClientStats:
    """What a server knows of one client. Shares are 0..1 and, like rates, over the last 5 s; counts are totals."""

    name: str = ""
    address: str = ""
    connected_s: float = 0.0
    rtt_ms: float | None = None
    clock_offset_ms: float | None = None
    packets_received: int = 0
    packets_lost: int = 0
    packets_duplicate: int = 0
    packets_undecryptable: int = 0
    packets_malformed: int = 0
    bytes_received: int = 0
    loss_share: float = 0.0
    received_kbps: float = 0.0
    video_fps: float = 0.0
    frames_whole: int = 0
    frames_by_parity: int = 0
    frames_by_repair: int = 0
    frames_with_holes: int = 0
    frames_skipped: int = 0
    frame_age_p50_ms: float | None = None
    frame_age_p95_ms: float | None = None
    frame_age_p99_ms: float | None = None
    fresh_area_share: float = 1.0
    shards_received: int = 0
    shards_duplicate: int = 0
    shards_late: int = 0
    shards_refused: int = 0
    shards_repaired: int = 0
    shards_recovered: int = 0
    repairs_asked: int = 0
    playout_delay_ms: float = 0.0
    jitter_ms: float = 0.0
    audio_frames_received: int = 0
    audio_frames_from_copies: int = 0
    audio_frames_duplicate: int = 0
    audio_port: int = 0
    # Filled in by the application: what happened behind the protocol.
    packets_dropped_by_kernel: int = 0  # on the main port, all clients', and on the sound port of this one
    frames_decoded: int = 0
    frames_replaced: int = 0  # a newer one came before the application took it
    audio_frames_concealed: int = 0
    audio_silent_s: float = 0.0  # played in place of what the sender left out
    audio_level: float = 0.0  # of full scale
    audio_delay_ms: float | None = None
    video_delay_ms: float | None = None
    sound_after_picture_ms: float | None = None  # the difference of the two
    extra: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class SenderStats:
    """What a sender knows. The server's view comes with its feedback, a few times a second."""

    state: str = "connecting"
    rtt_ms: float | None = None
    reconnects: int = 0
    packets_sent: int = 0
    bytes_sent: int = 0
    sent_kbps: float = 0.0
    picture_kbps: float = 0.0
    parity_kbps: float = 0.0
    repair_kbps: float = 0.0
    sound_kbps: float = 0.0
    datagram_bytes: int = DATAGRAM_DEFAULT_BYTES  # the largest that the path is known to carry, UDP payload
    frames_sent: int = 0
    data_shards_sent: int = 0
    parity_shards_sent: int = 0
    repairs_asked: int = 0
    repair_shards_sent: int = 0
    frames_dropped_away: int = 0  # accepted while there was no connection
    frames_dropped_pacer: int = 0
    frames_skipped_ceiling: int = 0  # left out because the ceiling had no room for them
    frames_skipped_path: int = 0  # left out because a queue on the path has to drain first
    quality: int = 0
    picture_scale: float = 1.0  # of width and height, as pictures are sent
    path_kbps: float = 0.0  # what pictures may take at present, headers and parity included
    picture_target_kbps: float = 0.0  # of it, what is left for the pictures themselves
    sound_target_kbps: float = 0.0  # Opus alone, without copies and headers
    path_queue_ms: float = 0.0  # how long what is sent now would wait on the path, as far as one can tell
    audio_frames_sent: int = 0
    audio_silent_s: float = 0.0  # left out
    server_loss_share: float = 0.0
    server_frames_whole: int = 0
    server_frames_with_holes: int = 0
    server_frames_skipped: int = 0
    server_playout_delay_ms: float = 0.0
