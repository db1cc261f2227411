"""One session, seen from either end: keys, packet numbers, replay window, liveness, clocks and the control channel.

Receive order (docs/protocol.md): the endpoint has found the session by its id; here the packet number is rebuilt, the
replay window asked, the AEAD opened, and only then does anything change. Video, sound and what control frames mean are
the endpoints' business: ``handle_datagram`` gives back the frames that are not the session's own.
"""

from collections import deque

from udpconf.limits import DATAGRAM_DEFAULT_BYTES, PING_INTERVAL_US
from udpconf.proto.control import ControlReceiver, ControlSender
from udpconf.proto.crypto import Direction, PacketKey, SessionKeys
from udpconf.proto.path_mtu import PathMtu
from udpconf.proto.replay_window import ReplayWindow
from udpconf.proto.rtt import RoundTrip
from udpconf.proto.stats import SessionCounters
from udpconf.wire.envelope import (
    HEADER_BYTES,
    OVERHEAD_BYTES,
    PACKET_NUMBER_BYTES,
    Channel,
    Envelope,
    MalformedPacket,
    encode_envelope_start,
)
from udpconf.wire.frames import (
    PADDING,
    AudioBind,
    AudioPacket,
    Control,
    ControlAck,
    Frame,
    Ping,
    Pong,
    VideoShard,
    decode_frames_untrusted,
    encode_control,
    encode_control_ack,
    encode_ping,
    encode_pong,
)
from udpconf.wire.packet_number import expand, truncate

# A new session asks often at first: the smallest of several round trips gives a clock offset to rely on.
FIRST_PINGS = 8
FIRST_PING_INTERVAL_US = 40_000
# Nothing has come for so long, so it asks often again: where few packets go the other way, a burst of losses that counts packets
# lasts for seconds, and a client that hears nothing for two begins anew. In virtual time, 10 % of losses in bursts of five
# both ways, sound alone: in 30 calls of a minute five began anew, with these none.
QUIET_US = 500_000
QUIET_PING_INTERVAL_US = 100_000
# A round trip of some seconds' worth.
UNANSWERED_PINGS_MAX = 32
# Frames that are none of the session's business.
_MEDIA = (VideoShard, AudioPacket)
# Replies to pings wait here; the peer asks once a second, so a longer queue would be its fault.
OUTBOX_MAX = 64


class ChannelState:
    """One channel's number spaces, ours and theirs.

    Attributes:
        highest: the highest number of the packets that have come; -1 before any.
        received: packets that have come.
        gaps: between packet numbers, when they came; reordering may have filled one since.
        gap_us: when a packet last came before others that were sent before it.
    """

    __slots__ = (
        "gap_us",
        "gaps",
        "header_start",
        "highest",
        "inbound",
        "next_number",
        "outbound",
        "received",
        "window",
    )

    def __init__(self, outbound: PacketKey, inbound: PacketKey, header_start: bytes) -> None:
        self.header_start = header_start
        self.outbound = outbound
        self.inbound = inbound
        self.next_number = 0
        self.highest = -1
        self.received = 0
        self.gaps = 0
        self.gap_us: int | None = None
        self.window = ReplayWindow()


class Session:
    """The secure and living part of a connection; owned and driven by one endpoint."""

    def __init__(self, keys: SessionKeys, outbound: Direction, destination_id: int, now_us: int) -> None:
        inbound = (
            Direction.SERVER_TO_CLIENT
            if outbound is Direction.CLIENT_TO_SERVER
            else Direction.CLIENT_TO_SERVER
        )
        self.counters = SessionCounters()
        self.round_trip = RoundTrip()
        self.last_heard_us = now_us
        self.started_us = now_us
        self.peer_wall_offset_us: int | None = None  # peer's wall clock minus peer's monotonic clock
        # Indexed by the channel's number: an enum's hash is computed in Python, at every packet.
        self._channels = tuple(
            ChannelState(
                keys.key(outbound, channel),
                keys.key(inbound, channel),
                encode_envelope_start(0, channel, destination_id),
            )
            for channel in Channel
        )
        self.main = self._channels[Channel.MAIN]
        self._control_out = ControlSender()
        self._control_in = ControlReceiver()
        self._outbox: deque[bytes] = deque(maxlen=OUTBOX_MAX)
        self._path_mtu: PathMtu | None = None
        self._pings_sent = 0
        self._ping_at_us = now_us
        self._pinged_us = now_us - 1
        self._unanswered: deque[int] = deque(maxlen=UNANSWERED_PINGS_MAX)

    def probe_path(self, now_us: int) -> None:
        """From now on find out how large datagrams may be: this end has much to send."""
        self._path_mtu = PathMtu(now_us)

    # --- inputs ---

    def handle_datagram(self, now_us: int, datagram: bytes, envelope: Envelope) -> list[Frame]:
        """Open one protected packet. Returns video, sound, feedback, binds, and control frames that are in order."""
        counters = self.counters
        state = self._channels[envelope.channel]
        number = expand(state.highest, envelope.truncated_packet_number)
        if number <= state.highest and state.window.seen(number):
            counters.packets_duplicate += 1
            return []
        plaintext = state.inbound.open(number, datagram[:HEADER_BYTES], datagram[HEADER_BYTES:])
        if plaintext is None:
            counters.packets_undecryptable += 1
            return []
        state.window.mark(number)
        if number > state.highest:
            if number > state.highest + 1 and state.received:
                state.gaps += 1
                state.gap_us = now_us
            state.highest = number
        state.received += 1
        self.last_heard_us = now_us
        counters.packets_received += 1
        counters.bytes_received += len(datagram)
        try:
            frames = decode_frames_untrusted(plaintext)
        except MalformedPacket:
            counters.packets_malformed += 1
            return []
        if len(frames) == 1 and type(frames[0]) in _MEDIA:
            return frames  # as most are
        passed_on: list[Frame] = []
        # At most one answer of each kind to a packet: full of pings, one packet could set off four times its size.
        ping: Ping | None = None
        bind: AudioBind | None = None
        control_came = False
        for frame in frames:
            if isinstance(frame, Ping):
                ping = frame
            elif isinstance(frame, Pong):
                if frame.ping_sent_us not in self._unanswered:
                    continue  # made up: it could make the path look shorter or longer than it is
                self._unanswered.remove(frame.ping_sent_us)
                self.round_trip.handle_pong(frame.ping_sent_us, frame.received_us, frame.sent_us, now_us)
                if self._path_mtu is not None:
                    self._path_mtu.handle_pong(frame.ping_sent_us, now_us)
            elif isinstance(frame, Control):
                passed_on += self._control_in.handle(frame)
                control_came = True
            elif isinstance(frame, ControlAck):
                self._control_out.handle_ack(now_us, frame.next_number, self.round_trip.timeout_us)
            elif isinstance(frame, AudioBind):
                bind = frame
            else:
                passed_on.append(frame)
        if ping is not None:
            self.peer_wall_offset_us = ping.wall_us - ping.sent_us
            self._outbox.append(encode_pong(Pong(ping.sent_us, now_us, now_us)))
        if control_came:
            self._outbox.append(encode_control_ack(ControlAck(self._control_in.next_number)))
        if bind is not None:
            passed_on.append(bind)
        return passed_on

    def handle_timeout(self, now_us: int, wall_us: int) -> None:
        """Resend what was not acknowledged, ask how far the peer is."""
        for control in self._control_out.handle_timeout(now_us, self.round_trip.timeout_us):
            self._outbox.append(encode_control(control))
        if now_us >= self._ping_at_us:
            self._ping(now_us, wall_us)
            self._pings_sent += 1
            self._ping_at_us = now_us + self._ping_interval_us(now_us)
        if self._path_mtu is not None:
            size = self._path_mtu.poll_probe(now_us, self.round_trip.timeout_us)
            if size is not None:
                self._path_mtu.handle_sent(self._ping(now_us, wall_us, size))

    def send_control(self, now_us: int, kind: int, body: bytes) -> None:
        control = self._control_out.send(now_us, kind, body, self.round_trip.timeout_us)
        self._outbox.append(encode_control(control))

    # --- outputs ---

    def poll_plaintext(self) -> bytes | None:
        """The session's own next packet, for the main channel; the endpoint seals and sends it."""
        return self._outbox.popleft() if self._outbox else None

    def poll_timeout(self) -> int:
        at_us = self._ping_at_us
        resend_at_us = self._control_out.poll_timeout()
        if resend_at_us is not None:
            at_us = min(at_us, resend_at_us)
        return at_us if self._path_mtu is None else min(at_us, self._path_mtu.poll_timeout())

    def seal(self, channel: Channel, plaintext: bytes) -> bytes:
        """The datagram for a plaintext, under the channel's next packet number."""
        state = self._channels[channel]
        number = state.next_number
        state.next_number = number + 1
        header = state.header_start + truncate(number).to_bytes(PACKET_NUMBER_BYTES, "big")
        datagram = header + state.outbound.seal(number, header, plaintext)
        self.counters.packets_sent += 1
        self.counters.bytes_sent += len(datagram)
        return datagram

    def _ping_interval_us(self, now_us: int) -> int:
        if self._pings_sent < FIRST_PINGS:
            return FIRST_PING_INTERVAL_US
        return QUIET_PING_INTERVAL_US if now_us - self.last_heard_us >= QUIET_US else PING_INTERVAL_US

    def _ping(self, now_us: int, wall_us: int, datagram_bytes: int = 0) -> int:
        """Put a PING into the outbox, padded to a size if one is given; returns its time, which no other PING has."""
        self._pinged_us = max(now_us, self._pinged_us + 1)
        self._unanswered.append(self._pinged_us)
        ping = encode_ping(Ping(self._pinged_us, wall_us))
        self._outbox.append(ping.ljust(datagram_bytes - OVERHEAD_BYTES, bytes((PADDING,))))
        return self._pinged_us

    # --- views ---

    @property
    def datagram_bytes(self) -> int:
        """The largest datagram that the path is known to carry."""
        return DATAGRAM_DEFAULT_BYTES if self._path_mtu is None else self._path_mtu.datagram_bytes

    @property
    def control_idle(self) -> bool:
        """Everything said on the control channel was acknowledged."""
        return self._control_out.idle

    @property
    def main_next(self) -> int:
        """The number of the next packet that will be sealed for the main channel."""
        return self.main.next_number

    @property
    def packets_expected(self) -> int:
        """Main-channel packets that the peer must have sent by now."""
        return self.main.highest + 1

    @property
    def packets_lost(self) -> int:
        """Main-channel packets that have not come, as yet."""
        return self.packets_expected - self.main_received

    @property
    def loss_runs(self) -> int:
        """In how many gaps they are missing, roughly: reordering makes gaps as well."""
        return self.main.gaps

    @property
    def main_received(self) -> int:
        """Main-channel packets that have come."""
        return self.main.received

    def capture_us(self, peer_low32: int, now_us: int) -> int:
        """A time of the peer's, given by its low 32 bits, on our clock."""
        return self.round_trip.to_local_us(peer_low32, now_us)

    def wall_us(self, local_us: int) -> int:
        """What the peer's wall clock showed at a moment of our clock."""
        if self.peer_wall_offset_us is None:
            return 0
        return local_us + (self.round_trip.offset_us or 0) + self.peer_wall_offset_us
