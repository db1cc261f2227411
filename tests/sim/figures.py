"""What came of one client's call in virtual time: every frame, every sound and every packet with exactly one fate."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from tests.conversation import SERVER_START_US, UDP_IP_BYTES, Conversation, Peer
from tests.playing import Player
from udpconf.frames import OpusFrame
from udpconf.limits import MS, SECOND
from udpconf.proto.audio_jitter import AudioJitterBuffer
from udpconf.proto.audio_target import PLAY_US
from udpconf.proto.events import AudioReceived, VideoFrameDue
from udpconf.proto.server_client import ServerClient
from udpconf.wire.envelope import HEADER_BYTES, PROTECTED_BIT
from udpconf.wire.frames import ANSWERS_REPAIR, AUDIO, FEEDBACK, VIDEO

AUDIO_CHANNEL_BIT = 0x10
# In a packet with a VIDEO frame.
SHARD_INDEX_AT, DATA_SHARDS_AT, COUNT_AT = HEADER_BYTES + 8, HEADER_BYTES + 9, HEADER_BYTES + 26


def kind_of(datagram: bytes) -> str:
    """What a datagram is sent for. Needs the null cipher."""
    if datagram[0] < PROTECTED_BIT:
        return "handshake"
    if len(datagram) <= HEADER_BYTES:
        return "control"
    frame = datagram[HEADER_BYTES]
    if datagram[0] & AUDIO_CHANNEL_BIT:
        return "sound" if frame == AUDIO else "control"
    if frame == VIDEO:
        if datagram[SHARD_INDEX_AT] < datagram[DATA_SHARDS_AT]:
            return "video"
        return "repair" if datagram[COUNT_AT] == ANSWERS_REPAIR else "parity"
    return "feedback" if frame == FEEDBACK else "control"


class Shown(NamedTuple):
    """A frame at the instant at which the jitter buffer gave it out. Times are microseconds of the story."""

    at_us: int
    frame_id: int
    captured_us: int
    fresh: float  # share of its area that arrived

    @property
    def whole(self) -> bool:
        return self.fresh == 1


@dataclass
class Call:
    """One client as the story sees it.

    Attributes:
        captured: pictures taken; each was accepted by the endpoint, or there was no connection at the time ("away"), or no
            room on the path ("left out").
        accepted_ids: of those the endpoint took.
        shown: in the order they were given out.
        hearing: the sound between network and loudspeaker, a buffer for each session.
        playing: who takes it out of them.
        shown_by_session: the ids of the frames.
        sounds_concealed: frames that were made up.
        datagrams_sent: into the link, by direction and kind; ``datagrams_came``: out of it, by direction.
        wire_bytes: of those that were sent, with IP and UDP headers.
    """

    conversation: Conversation
    peer: Peer
    captured: int = 0
    left_out: int = 0
    accepted_ids: list[int] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    sounds_captured: int = 0
    sounds_received: int = 0
    sounds_concealed: int = 0
    hearing: list[AudioJitterBuffer] = field(default_factory=list)
    playing: list[Player] = field(default_factory=list)
    shown_by_session: list[list[int]] = field(default_factory=list)
    datagrams_sent: Counter[tuple[str, str]] = field(default_factory=Counter)
    datagrams_came: Counter[str] = field(default_factory=Counter)
    wire_bytes: Counter[tuple[str, str]] = field(default_factory=Counter)
    video_on: bool = False
    sound_on: bool = False
    _heard: bool = False
    _silent_us: int = 0  # in a row without a frame of the sender's
    _silent_longest_us: int = 0

    # --- what the story tells it ---

    def join(self) -> None:
        """A session begins."""
        self.hearing.append(AudioJitterBuffer())
        self.playing.append(Player(self.hearing[-1]))
        self.shown_by_session.append([])

    def sent(self, direction: str, datagram: bytes) -> None:
        """A datagram was put into the link."""
        key = (direction, kind_of(datagram))
        self.datagrams_sent[key] = self.datagrams_sent.get(key, 0) + 1
        self.wire_bytes[key] = self.wire_bytes.get(key, 0) + len(datagram) + UDP_IP_BYTES

    def came(self, direction: str) -> None:
        """One came out of it."""
        self.datagrams_came[direction] += 1

    def show(self, event: VideoFrameDue) -> None:
        encoded = event.frame.encoded
        there = sum(segment.interval_count for segment in encoded.segments)
        frame_id = event.frame.frame_id
        self.shown_by_session[-1].append(frame_id)
        self.shown.append(
            Shown(
                self.conversation.now_us,
                frame_id,
                self.peer.sent_at_us[frame_id],
                there / encoded.description.interval_count,
            )
        )

    # --- pictures ---

    def between(self, from_s: float, to_s: float) -> list[Shown]:
        """The frames captured in that part of the story and shown at any time."""
        return [frame for frame in self.shown if from_s * SECOND <= frame.captured_us < to_s * SECOND]

    def latency_ms(self, quantile: float, *, from_s: float = 0, to_s: float = 1e9) -> float:
        """From capture to being given out, of the frames captured then; infinite if none was shown."""
        delays = sorted(frame.at_us - frame.captured_us for frame in self.between(from_s, to_s))
        return delays[min(len(delays) - 1, int(quantile * len(delays)))] / MS if delays else float("inf")

    @property
    def whole(self) -> int:
        return sum(frame.whole for frame in self.shown)

    @property
    def with_holes(self) -> int:
        return len(self.shown) - self.whole

    @property
    def away(self) -> int:
        return self.captured - self.left_out - len(self.accepted_ids)

    @property
    def under_way(self) -> int:
        """Accepted after the newest one that was shown: they may still come."""
        newest = self.shown[-1].frame_id if self.shown else -1
        return sum(frame_id > newest for frame_id in self.accepted_ids)

    @property
    def skipped(self) -> int:
        """Accepted, and passed over by a later one."""
        return len(self.accepted_ids) - len(self.shown) - self.under_way

    @property
    def fresh_area(self) -> float:
        """Mean share of the picture's area that arrived, over the frames that were shown; 0 if none was."""
        return sum(frame.fresh for frame in self.shown) / len(self.shown) if self.shown else 0.0

    def freeze_ms(self, *, from_s: float = 0, to_s: float = 1e9) -> float:
        """The longest that the picture stood still between two instants of the story, the end counted in."""
        now_us = min(self.conversation.now_us, int(to_s * SECOND))
        times = [frame.at_us for frame in self.shown if from_s * SECOND <= frame.at_us < to_s * SECOND]
        if self.video_on or now_us < self.conversation.now_us:
            times.append(now_us)
        return max((after - before for before, after in pairwise(times)), default=0) / MS

    def back_after_s(self, instant_s: float) -> float:
        """From an instant of the story to the next whole frame that is shown, captured after it; infinite if none is."""
        at_us = instant_s * SECOND
        later = (frame.at_us - at_us for frame in self.shown if frame.captured_us >= at_us and frame.whole)
        return next(later, float("inf")) / SECOND

    # --- sound ---

    def hear(self, event: AudioReceived) -> None:
        self.sounds_received += 1
        self.hearing[-1].push(
            event.sequence_number, event.capture_us, event.data, event.arrival_us, copy=event.copy
        )

    def play_sound(self, now_us: int) -> list[OpusFrame]:
        """What goes to the loudspeaker for the next 5 ms."""
        if not self.playing:
            return []
        played: list[OpusFrame] = []
        for _, frame in self.playing[-1].play(now_us):
            if frame is not None and frame.data is not None:
                self._heard = True
                self._silent_us = 0
            elif self._heard and self.sound_on:
                self.sounds_concealed += frame is not None
                self._silent_us += PLAY_US if frame is None else self.hearing[-1].frame_us
                self._silent_longest_us = max(self._silent_longest_us, self._silent_us)
            if frame is not None:
                played.append(frame)
        return played

    @property
    def silence_ms(self) -> float:
        """The longest that nothing of the sender's own was heard, once it had been, and while it captured sound."""
        return self._silent_longest_us / MS

    @property
    def sound_delay_ms(self) -> float:
        """From capture to the loudspeaker, now; infinite if nothing plays."""
        delay_us = self.hearing[-1].delay_us if self.hearing else None
        return float("inf") if delay_us is None else delay_us / MS

    # --- packets ---

    @property
    def reconnects(self) -> int:
        now_us = self.conversation.now_us + self.peer.clock_offset_us
        return self.peer.endpoint.stats(now_us).reconnects

    def bytes_sent(self, kind: str, direction: str = "up") -> int:
        return self.wire_bytes[direction, kind]

    @property
    def server_clients(self) -> list[ServerClient]:
        """The server's sides of this call, one a session."""
        client_id = self.peer.endpoint.client_id
        return [c for c in self.conversation.server_clients.values() if c.client_id == client_id]

    # --- every one is accounted for ---

    def violations(self) -> list[str]:
        """Sentences about what is not conserved; none, if all is well."""
        found: list[str] = []

        def equal(what: str, left: int, right: int) -> None:
            if left != right:
                found.append(f"{what}: {left} != {right}")

        for direction, link in (("up", self.peer.up), ("down", self.peer.down)):
            c = link.counters
            fates = c.delivered + c.lost + c.dropped_by_queue + c.in_flight
            equal(
                f"packets put into the link {direction}, copies added, and their fates",
                c.sent + c.duplicated,
                fates,
            )
            sent = sum(n for (way, _), n in self.datagrams_sent.items() if way == direction)
            equal(f"datagrams into the link {direction}", sent, c.sent)
            equal(f"datagrams out of the link {direction}", self.datagrams_came[direction], c.delivered)
        ids = [frame.frame_id for frame in self.shown]
        if any(after <= before for before, after in pairwise(ids)):
            found.append("frames were shown twice or out of turn")
        if not set(ids) <= set(self.accepted_ids):
            found.append("a frame was shown that nobody sent")
        video = [client.frames.counters for client in self.server_clients]
        equal("frames shown", len(ids), sum(c.frames_whole + c.frames_with_holes for c in video))
        equal("frames whole", self.whole, sum(c.frames_whole for c in video))
        for client, session in zip(self.server_clients, self.shown_by_session, strict=True):
            v = client.frames.counters
            fates = v.shards_used + v.shards_duplicate + v.shards_late + v.shards_refused
            equal("shards received and their fates", v.shards_received, fates)
            gaps = session[-1] - session[0] + 1 - len(session) if session else 0
            if client is self.server_clients[-1] and self.peer.state != "closed":
                equal("frames skipped", v.frames_skipped, gaps)
            elif v.frames_skipped < gaps:  # it may have skipped those that were open at its end
                found.append(f"frames skipped by an earlier session: {v.frames_skipped} < {gaps}")
            sound = client.audio.counters
            fates = sound.frames_used + sound.frames_duplicate + sound.frames_refused
            equal("sound frames received and their fates", sound.frames_received, fates)
        used = sum(client.audio.counters.frames_used for client in self.server_clients)
        equal("sound frames used and taken by the loudspeaker", used, self.sounds_received)
        for buffer in self.hearing:
            n = buffer.counts
            fates = n.played + n.skipped + n.duplicate + n.late + n.dropped + len(buffer._waiting)
            equal("sound frames pushed and their fates", n.pushed, fates)
        return found

    def __str__(self) -> str:
        now_us = SERVER_START_US + self.conversation.now_us
        stats = self.conversation.server.stats(now_us) if self.conversation.server else {}
        mine = stats.get(self.peer.endpoint.client_id)
        kinds = sorted(self.wire_bytes)
        lines = [
            f"frames: {self.captured} captured, {self.away} without a connection, {self.left_out} left out, {self.whole} whole, ",
            f"    {self.with_holes} with holes, {self.skipped} skipped, {self.under_way} under way; ",
            f"    fresh area {self.fresh_area:.4f}, longest freeze {self.freeze_ms():.1f} ms",
            "latency: "
            + ", ".join(f"p{q:g} {self.latency_ms(q / 100):.1f}" for q in (50, 95, 99, 100))
            + " ms",
            f"sound: {self.sounds_captured} captured, {self.sounds_received} received, {self.sounds_concealed} concealed,",
            f"    longest silence {self.silence_ms:.0f} ms, delay {self.sound_delay_ms:.1f} ms",
            "sent: " + ", ".join(f"{way} {kind} {self.wire_bytes[way, kind]} B" for way, kind in kinds),
            f"{self.peer.state}, {self.reconnects} times reconnected; up {self.peer.up.counters}",
        ]
        if mine is not None:
            lines.append(
                f"server: playout delay {mine.playout_delay_ms:.1f} ms, shards late {mine.shards_late}"
            )
        return "\n".join(lines)
