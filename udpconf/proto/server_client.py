"""What the server keeps of one client: its session, its video's jitter buffer, its sound's numbers, its addresses."""

from udpconf.limits import AUDIO_BUFFER_US, DROP_AFTER_US, HALF_OPEN_LIFE_US, MS, SECOND
from udpconf.names import UNNAMED
from udpconf.proto.audio_packets import AudioDepacketizer
from udpconf.proto.events import Address
from udpconf.proto.jitter_buffer import JitterBuffer
from udpconf.proto.reassembly import ReassemblyBudget
from udpconf.proto.session import Session
from udpconf.proto.stats import ClientStats, Recent
from udpconf.proto.train_watch import TrainWatch
from udpconf.wire.frames import Feedback, encode_feedback, encode_train

# Often enough for a sender's live table, and for parity to follow the loss within a few frames.
FEEDBACK_INTERVAL_US = 200 * MS
# On a path that loses, feedback is lost as well: where bursts are counted in packets, it may be the only packets this way, and
# a client that hears nothing for 2 s begins anew.
FEEDBACK_UNDER_LOSS_US = 100 * MS
LOSS_LASTS_US = 2 * SECOND
# Feedback on sound alone is given up to such a part of its interval sooner if somebody else's timer has come: from then on both come
# at once. Sixteen clients that are seen to one by one cost 1 % of a core more.
TOGETHER_SHARE = 4
# Sound may lead the picture by so much before the picture is held back: half of what is noticed (ITU-R BT.1359).
LIP_SYNC_US = 20 * MS


class ServerClient:
    """One client of a server; owned by the endpoint. Unconfirmed until its CONFIRM has come."""

    def __init__(
        self,
        session_id: int,
        session: Session,
        address: Address,
        budget: ReassemblyBudget,
        latency_us: int | None,
        now_us: int,
    ) -> None:
        self.session_id = session_id
        self.session = session
        self.address = address
        self.audio_address: Address | None = None
        self.audio_port: int | None = None  # None: not decided yet; 0: muxed
        self.client_id: str | None = None  # None: unconfirmed
        self.name = UNNAMED
        self.leaving: str | None = (
            None  # it said goodbye, in these words; its last frames are still to be shown
        )
        self.sends_video = self.sends_audio = False  # what it offered
        self.latency_us = 0  # what it asked for
        self.frames = JitterBuffer(budget, latency_us, session.round_trip)
        self.frames.handle_gap(now_us)
        self.trains = TrainWatch()
        self.audio = AudioDepacketizer()
        self._timeout_us: int | None = None  # what poll_timeout said, until something happens
        self._feedback_at_us = self._feedback_early_us = now_us + FEEDBACK_INTERVAL_US
        self._reported: Feedback | None = None
        self._lost_us: int | None = None  # when packets were last missing
        self._reported_counts = (0, 0)  # what _counts said when feedback was last due
        self._recent = Recent()

    @property
    def confirmed(self) -> bool:
        return self.client_id is not None

    def set_audio_delay(self, delay_us: int | None) -> None:
        hold_us = 0 if delay_us is None else delay_us - LIP_SYNC_US
        self.frames.set_hold(min(max(0, hold_us), AUDIO_BUFFER_US))
        self.touch()  # a frame may be due at once

    def handle_timeout(self, now_us: int, wall_us: int) -> bytes | None:
        """Run the timers; returns feedback to send when it has changed."""
        self.session.handle_timeout(now_us, wall_us)
        self.frames.handle_timeout(now_us)
        self._recent.mark(now_us, *self._totals())
        if now_us < self._feedback_at_us and not self._has_early_feedback(now_us):
            return None
        if (reported := self._reported) is not None and self.session.packets_lost > reported.packets_lost:
            self._lost_us = now_us
        lossy = self._lost_us is not None and now_us - self._lost_us < LOSS_LASTS_US
        interval_us = FEEDBACK_UNDER_LOSS_US if lossy else FEEDBACK_INTERVAL_US
        self._feedback_at_us = now_us + interval_us
        self._feedback_early_us = self._feedback_at_us - interval_us // TOGETHER_SHARE
        counters, sound = self.frames.counters, self.audio.losses
        feedback = Feedback(
            self.session.main_received,
            self.session.packets_lost,
            self.session.loss_runs,
            counters.shards_late,
            counters.frames_whole,
            counters.frames_with_holes,
            counters.frames_skipped,
            max(0, self.frames.target_us),
            self.frames.repair_time_us,
            sound.received,
            sound.lost,
            sound.runs,
        )
        self._reported_counts = self._counts
        if (
            reported
            and feedback[4:7] == reported[4:7]
            and feedback.sound_received == reported.sound_received
            and feedback.packets_lost == reported.packets_lost
        ):
            return None  # neither video nor sound nor losses, nothing to say
        self._reported = feedback
        train = self.trains.take()
        return encode_feedback(feedback) + (b"" if train is None else encode_train(train))

    def touch(self) -> None:
        """Something happened: the next timer is to be worked out again."""
        self._timeout_us = None

    def sound_came(self) -> bool:
        """A packet of sound came, of which nothing is to be done but feedback; whether the next timer may have moved closer."""
        if self._timeout_us is not None and self._timeout_us <= self._feedback_at_us:
            return False
        self.touch()
        return True

    def poll_timeout(self) -> int:
        """When ``handle_timeout`` is next due, or the client is to be dropped."""
        if self._timeout_us is None:
            self._timeout_us = min(self.session.poll_timeout(), self.drop_at_us)
            frame_us = self.frames.poll_timeout()
            if frame_us is not None:
                self._timeout_us = min(self._timeout_us, frame_us)
            if self._counts != self._reported_counts:
                self._timeout_us = min(self._timeout_us, self._feedback_at_us)
        return self._timeout_us

    @property
    def _counts(self) -> tuple[int, int]:
        """Others when there is something to report: packets that came, frames that were shown since, as may be much later.

        And packets that were lost: it may be a PING that shows that a picture's last ones were, for which its sender waits.
        """
        video = self.frames.counters
        frames = video.frames_whole + video.frames_with_holes + video.frames_skipped
        came = video.shards_received + frames + self.audio.losses.received
        return came, self.session.packets_lost

    def has_something_to_do(self, now_us: int) -> bool:
        """A timer is due, or may be run sooner as one of another client's is."""
        return self.poll_timeout() <= now_us or self._has_early_feedback(now_us)

    def _has_early_feedback(self, now_us: int) -> bool:
        """There is something to tell of sound alone, which is due soon."""
        return (
            now_us >= self._feedback_early_us
            and self.sends_audio
            and not self.sends_video
            and self._counts != self._reported_counts
        )

    @property
    def drop_at_us(self) -> int:
        if not self.confirmed:
            return self.session.started_us + HALF_OPEN_LIFE_US
        return self.session.last_heard_us + DROP_AFTER_US

    def stats(self, now_us: int) -> ClientStats:
        session, video, audio = self.session, self.frames.counters, self.audio.counters
        seconds, (received, lost, size, whole, holes, area) = self._recent.since(now_us, *self._totals())
        frames = whole + holes
        ages_ms = self.frames.frame_ages_ms()
        round_trip = session.round_trip
        return ClientStats(
            name=self.name,
            address=f"{self.address[0]}:{self.address[1]}",
            connected_s=(now_us - session.started_us) / 1e6,
            rtt_ms=None if round_trip.latest_rtt_us is None else round_trip.smoothed_rtt_us / MS,
            clock_offset_ms=None if round_trip.offset_us is None else round_trip.offset_us / MS,
            packets_received=session.main_received,
            packets_lost=session.packets_lost,
            packets_duplicate=session.counters.packets_duplicate,
            packets_undecryptable=session.counters.packets_undecryptable,
            packets_malformed=session.counters.packets_malformed,
            bytes_received=session.counters.bytes_received,
            loss_share=max(0.0, lost) / (received + lost) if received + lost > 0 else 0.0,
            received_kbps=size * 8 / 1000 / seconds if seconds else 0.0,
            video_fps=frames / seconds if seconds else 0.0,
            frames_whole=video.frames_whole,
            frames_by_parity=video.frames_by_parity,
            frames_by_repair=video.frames_by_repair,
            frames_with_holes=video.frames_with_holes,
            frames_skipped=video.frames_skipped,
            frame_age_p50_ms=ages_ms[0],
            frame_age_p95_ms=ages_ms[1],
            frame_age_p99_ms=ages_ms[2],
            fresh_area_share=area / frames if frames else 1.0,
            shards_received=video.shards_received,
            shards_duplicate=video.shards_duplicate,
            shards_late=video.shards_late,
            shards_refused=video.shards_refused,
            shards_repaired=video.shards_repaired,
            shards_recovered=video.shards_recovered,
            repairs_asked=video.repairs_asked,
            playout_delay_ms=self.frames.target_us / MS,
            jitter_ms=self.frames.playout.jitter_us / MS,
            audio_frames_received=audio.frames_received,
            audio_frames_from_copies=audio.frames_from_copies,
            audio_frames_duplicate=audio.frames_duplicate,
            audio_port=self.audio_port or 0,
        )

    def _totals(self) -> tuple[float, ...]:
        video = self.frames.counters
        return (
            self.session.main_received,
            self.session.packets_lost,
            self.session.counters.bytes_received,
            video.frames_whole,
            video.frames_with_holes,
            video.fresh_area_sum,
        )
