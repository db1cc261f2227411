"""The client's endpoint: connects, sends frames and sound, notices a lost server and comes back by itself.

    connecting ──WELCOME──► connected ──2 s of silence, or BYE──► reconnecting ──WELCOME──► connected
        │                                                             │
        └──refused, full, version──► failed ◄──refused, version───────┘         close(): BYE, then closed

Without sockets, threads or clocks: feed it datagrams and the time, drain ``poll_transmit`` and ``poll_event`` after
every input, call ``handle_timeout`` when ``poll_timeout`` says so.
"""

from collections import deque
from collections.abc import Callable
from typing import Literal

from udpconf.frames import EncodedFrame
from udpconf.limits import DATAGRAM_DEFAULT_BYTES, MS, REJOIN_AFTER_US, SECOND
from udpconf.names import clean_name
from udpconf.proto.audio_binding import AudioBinding
from udpconf.proto.client_config import ClientConfig, client_id_of, latency_milliseconds
from udpconf.proto.client_handshake import ClientHandshake
from udpconf.proto.crypto import Direction
from udpconf.proto.events import AUDIO_PATH, MAIN_PATH, ClientEvent, Connected, Disconnected, Failed, Transmit
from udpconf.proto.repair_timer import REQUESTS_AT_ONCE_MAX
from udpconf.proto.room import Room
from udpconf.proto.sender_totals import IP_UDP_BYTES, SenderTotals
from udpconf.proto.session import Session
from udpconf.proto.sound_sender import SoundSender
from udpconf.proto.stats import SenderStats
from udpconf.proto.video_sender import SMALL_DATAGRAM_BYTES, VideoSender
from udpconf.wire.control import (
    RESUME_SECRET_BYTES,
    Bye,
    ControlKind,
    Stream,
    decode_bye_untrusted,
    decode_welcome_untrusted,
    encode_bye,
    encode_confirm,
    encode_stream,
)
from udpconf.wire.envelope import Channel, MalformedPacket, decode_envelope_untrusted
from udpconf.wire.frames import TOKEN_BYTES, AudioBound, Control, Feedback, Repair, Train, shard_payload_bytes

State = Literal["connecting", "connected", "reconnecting", "closed", "failed"]

# "Tries again every second for as long as it runs": a handshake that failed for want of a place starts anew.
RETRY_US = 1 * SECOND
# The BYE may be lost: so long the endpoint waits for its acknowledgement.
CLOSE_US = 250 * MS


class ClientEndpoint:
    """One client's side of the protocol."""

    def __init__(
        self, config: ClientConfig, now_us: int, now_wall_us: int, entropy: Callable[[int], bytes]
    ) -> None:
        self.state: State = "connecting"
        self._config = config
        self._entropy = entropy
        self._wall_offset_us = now_wall_us - now_us
        self._room = Room.open() if config.passphrase is None else Room.from_passphrase(config.passphrase)
        self._resume_secret = entropy(RESUME_SECRET_BYTES)
        self.client_id = client_id_of(self._resume_secret)
        self._handshake: ClientHandshake | None = self._new_handshake(now_us)
        self._retry_at_us: int | None = None
        self._session: Session | None = None
        self._connection_id = bytes(8)
        self._sound = SoundSender(config.audio_channels, config.audio_frame_us, alone=not config.video)
        self._binding = AudioBinding()
        # Drained after every input: never longer than one input makes it.
        self._transmits: deque[Transmit] = deque()
        self._events: deque[ClientEvent] = deque()
        self._close_at_us: int | None = None
        self._goodbye_said = False
        self._latency_ms = self._said_latency_ms = latency_milliseconds(config.latency_us)
        self._totals = SenderTotals()
        self._video = VideoSender(config.max_bitrate_kbps, self._totals, recovery=config.recovery)
        self._follow_handshake(now_us)  # the first HELLO leaves now, not when its resend is due

    # --- commands ---

    def send_frame(self, now_us: int, frame_id: int, encoded: EncodedFrame) -> None:
        """Queue a picture; without a session it is dropped and counted."""
        if self.state != "connected" or self._session is None:
            self._totals.counts.frames_dropped_away += 1
            return
        self._video.send(now_us, frame_id, encoded, self.segment_max_bytes, self._session)
        self._drain_video(now_us)

    def send_audio(self, now_us: int, data: bytes, capture_us: int) -> None:
        """Send a frame of Opus; until the audio channel is bound, which takes a round trip, it is dropped."""
        if self.state != "connected" or self._session is None or not self._binding.ready:
            return
        path = AUDIO_PATH if self._binding.port else MAIN_PATH
        datagram = self._session.seal(Channel.AUDIO, self._sound.packetize(data, capture_us))
        self._transmits.append(Transmit(path, None, datagram))
        self._video.path.handle_sent_beside(now_us, len(datagram) + IP_UDP_BYTES)
        self._totals.sound_sent(len(datagram))

    def set_latency(self, now_us: int, latency_us: int | None) -> None:
        """Ask for that from now on, in later sessions as well; None: as early as the path allows."""
        self._latency_ms = latency_milliseconds(latency_us)
        self._say_latency(now_us)
        self._flush_session()

    def close(self, now_us: int) -> None:
        """Say goodbye; ``state`` is "closed" when it was acknowledged, or soon after."""
        if self.state in ("closed", "failed"):
            return
        if self._session is None or self.state != "connected":
            self.state = "closed"
            return
        self._close_at_us = now_us + CLOSE_US
        self._say_goodbye(now_us)
        self._flush_session()

    # --- inputs ---

    def handle_datagram(self, now_us: int, path: int, data: bytes) -> None:
        if self.state in ("closed", "failed") or not data:
            return
        if data[0] < 0x80:
            if self._handshake is not None and path == MAIN_PATH:
                self._handshake.handle_datagram(now_us, data)
                self._follow_handshake(now_us)
                self._flush_session()
            return
        session = self._session
        if session is None:
            return
        try:
            envelope = decode_envelope_untrusted(data)
        except MalformedPacket:
            return
        if envelope.destination_id != self._own_id:
            return
        repairs = 0
        for frame in session.handle_datagram(now_us, data, envelope):
            if isinstance(frame, Control):
                self._handle_control(now_us, session, frame)
            elif isinstance(frame, AudioBound):
                self._binding.handle_bound(frame)
            elif isinstance(frame, Feedback):
                self._totals.handle_feedback(now_us, frame, session)
                self._sound.handle_feedback(frame)
                self._video.path.handle_totals(now_us, frame.packets_received, frame.packets_lost)
            elif isinstance(frame, Train):
                self._video.path.handle_train(now_us, frame)
            elif isinstance(frame, Repair) and self.state == "connected" and repairs < REQUESTS_AT_ONCE_MAX:
                repairs += 1
                self._video.handle_repair(now_us, frame, session)
                self._drain_video(now_us)
        self._say_latency(now_us)
        if self.state == "reconnecting" and self._session is session and session.last_heard_us == now_us:
            self._resume(now_us, session)
        self._flush_session()

    def handle_timeout(self, now_us: int) -> None:
        if self.state in ("closed", "failed"):
            return
        if self._close_at_us is not None:
            if now_us >= self._close_at_us:
                self.state = "closed"
                return
        elif self._retry_at_us is not None and now_us >= self._retry_at_us:
            self._retry_at_us = None
            self._handshake = self._new_handshake(now_us)
        if self._handshake is not None:
            self._handshake.handle_timeout(now_us)
            self._follow_handshake(now_us)
        session = self._session
        if session is not None:
            session.handle_timeout(now_us, now_us + self._wall_offset_us)
            rejoin_at_us = self._rejoin_at_us
            if rejoin_at_us is not None and now_us >= rejoin_at_us:
                self._lose(now_us, "nothing heard from the server for 2 s", keep_session=True)
            self._totals.mark(now_us, session)
            self._bind_audio(now_us, session)
            self._drain_video(now_us)
            self._say_goodbye(now_us)
        self._flush_session()

    # --- outputs ---

    @property
    def has_output(self) -> bool:
        """``poll_event`` or ``poll_transmit`` has something to give."""
        return bool(self._events or self._transmits)

    def poll_transmit(self) -> Transmit | None:
        return self._transmits.popleft() if self._transmits else None

    def poll_event(self) -> ClientEvent | None:
        return self._events.popleft() if self._events else None

    def poll_timeout(self) -> int | None:
        if self.state in ("closed", "failed"):
            return None
        times = [self._retry_at_us, self._close_at_us, self._rejoin_at_us]
        if self._handshake is not None:
            times.append(self._handshake.poll_timeout())
        if (session := self._session) is not None:
            times += (session.poll_timeout(), self._binding.poll_timeout(), self._video.poll_timeout())
        return min([time for time in times if time is not None], default=None)

    def stats(self, now_us: int) -> SenderStats:
        """A snapshot; ``frames_replaced`` and the like belong to whoever feeds the endpoint."""
        counts = self._totals.counts
        counts.state = self.state
        counts.frames_dropped_pacer = self._video.frames_dropped
        counts.path_kbps = self.path_kbps(now_us)
        counts.picture_target_kbps = counts.path_kbps / (1 + self.parity_share)
        counts.sound_target_kbps = self.sound_bitrate_bps / 1000
        counts.path_queue_ms = self._video.path.queue_us(now_us) / MS
        return self._totals.snapshot(now_us, self._session)

    @property
    def audio_port(self) -> int | None:
        """Where the server listens for our sound; 0: on the main port; None: it has not said yet."""
        return self._binding.port

    def sound_packet_bytes(self, frame_bytes: float) -> float:
        """Of a datagram of sound at present, all headers included; any thread may ask."""
        return self._sound.packet_bytes(frame_bytes) + IP_UDP_BYTES

    @property
    def sound_bitrate_bps(self) -> int:
        """For the encoder of sound; any thread may read it."""
        return self._sound.bitrate_bps(self._video.path.open_ceiling_bps)

    @property
    def segment_max_bytes(self) -> int:
        """The largest segment that fits a datagram on this path; any thread may read it."""
        session = self._session
        if self._video.small_datagrams:
            return shard_payload_bytes(SMALL_DATAGRAM_BYTES)
        return shard_payload_bytes(DATAGRAM_DEFAULT_BYTES if session is None else session.datagram_bytes)

    @property
    def parity_share(self) -> float:
        """What parity adds to the bytes of a frame at present, as a share of them; any thread may read it."""
        return self._totals.parity_share

    def path_kbps(self, now_us: int) -> float:
        """What the path has for pictures, headers and parity included; 0: its queue has to drain first. From any thread."""
        return self._video.path.target_bps(now_us) / 1000

    # --- inside ---

    @property
    def _own_id(self) -> int:
        return int.from_bytes(self._connection_id[:4], "big")

    @property
    def _rejoin_at_us(self) -> int | None:
        """When the silence has lasted too long; None while something is being done about it already."""
        knocks = self._handshake is not None or self._retry_at_us is not None
        if self._session is None or knocks or self._close_at_us is not None:
            return None
        return self._session.last_heard_us + REJOIN_AFTER_US

    def _new_handshake(self, now_us: int) -> ClientHandshake:
        return ClientHandshake(self._room, now_us, self._entropy, null_cipher=self._config.null_cipher)

    def _follow_handshake(self, now_us: int) -> None:
        handshake = self._handshake
        if handshake is None:
            return
        while (data := handshake.poll_transmit()) is not None:
            self._transmits.append(Transmit(MAIN_PATH, None, data))
        if handshake.failure is not None:
            self._handshake = None
            if self.state == "reconnecting" and handshake.failure != "refused":
                # No place now, or a server that is being replaced; and anybody on the way can forge a REJECT.
                self._retry_at_us = now_us + RETRY_US
            else:
                self.state = "failed"
                self._events.append(Failed(handshake.failure))
        elif handshake.established is not None:
            self._handshake = None
            self._open_session(now_us, handshake)

    def _open_session(self, now_us: int, handshake: ClientHandshake) -> None:
        established = handshake.established
        assert established is not None
        if self._session is not None:
            self._totals.session_ends(self._session)
        self._connection_id = handshake.client_connection_id
        config = self._config
        self._session = Session(established.keys, Direction.CLIENT_TO_SERVER, established.session_id, now_us)
        self._video.clear()
        self._binding = AudioBinding()  # the port before is another session's, perhaps another server's
        self._sound = SoundSender(config.audio_channels, config.audio_frame_us, alone=not config.video)
        self._totals.session_begins()
        self._said_latency_ms = self._latency_ms
        wall_us = now_us + self._wall_offset_us
        confirm = config.confirm(self._resume_secret, self._latency_ms, now_us, wall_us)
        self._session.send_control(now_us, ControlKind.CONFIRM, encode_confirm(confirm))
        self._session.handle_timeout(now_us, now_us + self._wall_offset_us)

    def _handle_control(self, now_us: int, session: Session, control: Control) -> None:
        try:
            if control.kind == ControlKind.WELCOME:
                welcome = decode_welcome_untrusted(control.body)
                if self.state in ("connecting", "reconnecting") and self._close_at_us is None:
                    if self.state == "reconnecting":
                        self._totals.counts.reconnects += 1
                    self.state = "connected"
                    self._retry_at_us = self._handshake = None
                    self._probe_path(now_us, session)
                    self._binding.begin(now_us, welcome.audio_port, self._entropy(TOKEN_BYTES))
                    self._bind_audio(now_us, session)
                    self._events.append(Connected(welcome.audio_port, welcome.latency_ms * MS or None))
            elif control.kind == ControlKind.BYE:
                reason = clean_name(decode_bye_untrusted(control.body).reason)
                self._flush_session()
                if self.state == "connecting":
                    # The last place went between our ACCEPT and our CONFIRM.
                    self.state = "failed"
                    self._events.append(Failed("full"))
                elif self._close_at_us is None:
                    self._lose(now_us, f"the server said goodbye: {reason}", keep_session=False)
        except MalformedPacket:
            session.counters.packets_malformed += 1

    def _lose(self, now_us: int, reason: str, *, keep_session: bool) -> None:
        """Begin anew. A session that merely fell silent stays, in case the path comes back before the server answers."""
        if self.state == "connected":
            self._events.append(Disconnected(reason))
            self.state = "reconnecting"
        self._video.clear()
        if not keep_session and self._session is not None:
            self._totals.session_ends(self._session)
            self._session = None
            self._retry_at_us = now_us + RETRY_US
        if self._handshake is None and self._retry_at_us is None:
            self._handshake = self._new_handshake(now_us)
            self._follow_handshake(now_us)

    def _resume(self, now_us: int, session: Session) -> None:
        """The silent session spoke again before a new one was made."""
        if self._binding.port is None:
            return  # it is the new session, whose WELCOME is on its way
        if self._handshake is not None or self._retry_at_us is not None:
            self._handshake = self._retry_at_us = None
            self.state = "connected"
            self._probe_path(now_us, session)
            self._totals.counts.reconnects += 1
            self._events.append(Connected(self._binding.port, None))

    def _bind_audio(self, now_us: int, session: Session) -> None:
        plaintext = self._binding.handle_timeout(now_us)
        if plaintext is not None:
            self._transmits.append(Transmit(AUDIO_PATH, None, session.seal(Channel.AUDIO, plaintext)))

    def _probe_path(self, now_us: int, session: Session) -> None:
        if self._config.video:
            session.probe_path(now_us)

    def _drain_video(self, now_us: int) -> None:
        session = self._session
        if session is None:
            return
        for datagram in self._video.poll(now_us, session):
            self._transmits.append(Transmit(MAIN_PATH, None, datagram))

    def _say_latency(self, now_us: int) -> None:
        """Once what was said before has been acknowledged: a dial that is turned fast does not fill the control channel."""
        session = self._session
        if (
            self._latency_ms != self._said_latency_ms
            and session is not None
            and self.state == "connected"
            and session.control_idle
        ):
            self._said_latency_ms = self._latency_ms
            session.send_control(now_us, ControlKind.STREAM, encode_stream(Stream(self._latency_ms)))

    def _say_goodbye(self, now_us: int) -> None:
        """When closing, and what was accepted before is on its way."""
        if (
            self._close_at_us is not None
            and not self._goodbye_said
            and self._video.idle
            and self._session is not None
        ):
            self._goodbye_said = True
            self._session.send_control(now_us, ControlKind.BYE, encode_bye(Bye("it said goodbye")))

    def _flush_session(self) -> None:
        session = self._session
        if session is None:
            return
        while (plaintext := session.poll_plaintext()) is not None:
            self._transmits.append(Transmit(MAIN_PATH, None, session.seal(Channel.MAIN, plaintext)))
        if self._goodbye_said and session.control_idle:
            self.state = "closed"
