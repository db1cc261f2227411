"""The server's endpoint: strangers knock, clients send, frames fall due.

Sessions are found by their id, never by an address, and nothing of a session changes before a packet has passed the
AEAD. A HELLO can only create. Without sockets, threads or clocks: feed it datagrams and the time, drain
``poll_transmit`` and ``poll_event`` after every input, call ``handle_timeout`` when ``poll_timeout`` says so.
"""

from collections import Counter, deque
from collections.abc import Callable

from udpconf.limits import DATAGRAM_MAX_BYTES, MS, SECOND
from udpconf.names import clean_name
from udpconf.proto.client_config import client_id_of
from udpconf.proto.crypto import Direction
from udpconf.proto.events import (
    MAIN_PATH,
    Address,
    AudioPortReleased,
    AudioPortWanted,
    AudioReceived,
    ClientJoined,
    ClientLeft,
    LatencyChanged,
    ServerEvent,
    Transmit,
    VideoFrameDue,
)
from udpconf.proto.listener import HandshakeListener
from udpconf.proto.reassembly import ReassemblyBudget
from udpconf.proto.room import Room
from udpconf.proto.server_client import ServerClient
from udpconf.proto.server_config import ServerConfig
from udpconf.proto.session import Session
from udpconf.proto.stats import ClientStats
from udpconf.wire.control import (
    Bye,
    ControlKind,
    Offer,
    RosterEntry,
    Welcome,
    decode_bye_untrusted,
    decode_confirm_untrusted,
    decode_stream_untrusted,
    encode_bye,
    encode_welcome,
)
from udpconf.wire.envelope import Channel, MalformedPacket, decode_envelope_untrusted
from udpconf.wire.frames import (
    AudioBind,
    AudioBound,
    AudioPacket,
    Control,
    Frame,
    VideoShard,
    encode_audio_bound,
    encode_repair,
    encode_train,
)

# The BYEs may be lost: so long the endpoint waits for their acknowledgements.
CLOSE_US = 250 * MS
# What they are told, and what is said of who was here until then.
SERVER_ENDS = "the server ends"
# A client that was silent for so long may be the one that is knocking again: it is let in although all places are taken.
SILENT_US = 1 * SECOND


class ServerEndpoint:
    """All clients of one server."""

    def __init__(
        self, config: ServerConfig, now_us: int, now_wall_us: int, entropy: Callable[[int], bytes]
    ) -> None:
        self.closed = False
        self.refused: Counter[str] = Counter()  # datagrams that reached no session, by reason
        self._config = config
        self._latency_us = config.latency_us or 0
        self._wall_offset_us = now_wall_us - now_us
        self._room = Room.open() if config.passphrase is None else Room.from_passphrase(config.passphrase)
        self._clients: dict[int, ServerClient] = {}
        self._by_id: dict[str, ServerClient] = {}
        self._now_us = now_us
        self._listener = HandshakeListener(
            self._room,
            now_us,
            entropy,
            in_use=self._clients.__contains__,
            is_full=self._is_full,
            null_cipher=config.null_cipher,
        )
        self._budget = ReassemblyBudget()
        self._transmits: deque[Transmit] = (
            deque()
        )  # drained after every input: never longer than one input makes it
        self._events: deque[ServerEvent] = deque()
        self._close_at_us: int | None = None
        self._timeout_us: int | None = None  # what poll_timeout said, until a client's next timer changes

    # --- commands ---

    def audio_port_opened(self, now_us: int, session_id: int, port: int) -> None:
        """Answer to ``AudioPortWanted``; 0: none was free, sound rides on the main port."""
        client = self._clients.get(session_id)
        if client is None:
            if port:
                self._events.append(AudioPortReleased(port))
            return
        client.audio_port = port
        self._welcome(now_us, client)
        self._flush(client)

    def set_latency(self, now_us: int, latency_us: int | None) -> None:
        """Show and hear everybody so late from now on, or later if they asked for that; None: as early as the path allows."""
        self._latency_us = latency_us or 0
        for client in list(self._clients.values()):  # a flush may end one that says goodbye
            self._change_latency(now_us, client)
            self._flush(client)

    def set_audio_delay(self, now_us: int, client_id: str, delay_us: int | None) -> None:
        """Tell how long after its capture a client's sound is heard, so that its picture keeps step."""
        client = self._by_id.get(client_id)
        if client is not None:
            client.set_audio_delay(delay_us)
            self._timeout_us = None

    def close(self, now_us: int) -> None:
        """Say goodbye to everybody; ``closed`` when all have acknowledged, or soon after."""
        if self._close_at_us is not None:
            return
        self._close_at_us = now_us + CLOSE_US
        self._timeout_us = None
        for client in list(self._clients.values()):
            client.session.send_control(now_us, ControlKind.BYE, encode_bye(Bye(SERVER_ENDS)))
            self._flush(client)
        self._look_closed()

    # --- inputs ---

    def handle_datagram(
        self, now_us: int, path: int, address: Address, data: bytes, came_us: int | None = None
    ) -> None:
        """Take what came from the address on the path; ``came_us``: earlier than now, as it waited for somebody to look."""
        self._now_us = now_us
        came_us = now_us if came_us is None else came_us
        if not data or len(data) > DATAGRAM_MAX_BYTES:
            self.refused["length"] += 1
            return
        if data[0] < 0x80:
            if path == MAIN_PATH and self._close_at_us is None:
                reply = self._listener.handle_datagram(now_us, address, data)
                if reply is not None:
                    self._transmits.append(Transmit(MAIN_PATH, address, reply))
                if (refused := self._listener.poll_refused()) is not None:
                    self._events.append(refused)
            return
        try:
            envelope = decode_envelope_untrusted(data)
        except MalformedPacket as malformed:
            self.refused[malformed.reason] += 1
            return
        client = self._clients.get(envelope.destination_id)
        new = client is None
        if client is None:
            half_open = self._listener.find(envelope.destination_id)
            if half_open is None:
                self.refused["unknown session"] += 1
                return
            peer_id = int.from_bytes(half_open.client_connection_id[:4], "big")
            session = Session(half_open.keys, Direction.SERVER_TO_CLIENT, peer_id, now_us)
            # Not the address of this packet, which anybody with the passphrase may forge: the one that the cookie proved.
            client = ServerClient(
                half_open.session_id,
                session,
                half_open.address,
                self._budget,
                self._latency_us or None,
                now_us,
            )
        if path != MAIN_PATH and (envelope.channel is not Channel.AUDIO or path != client.audio_port):
            self.refused["wrong port"] += 1
            return
        frames = client.session.handle_datagram(now_us, data, envelope)
        if new:
            if not client.session.counters.packets_received:
                self.refused["undecryptable"] += 1
                return
            # It has the keys: from here on it is a session, unconfirmed as yet.
            self._listener.take(client.session_id)
            self._clients[client.session_id] = client
            client.session.handle_timeout(now_us, now_us + self._wall_offset_us)
        if len(frames) == 1 and type(frames[0]) is AudioPacket and not new:
            self._handle_sound(came_us, client, frames[0])
            if client.sound_came():
                self._timeout_us = None
            return
        quiet = not new
        for frame in frames:
            if type(frame) is AudioPacket:
                self._handle_sound(came_us, client, frame)
                quiet = False
            elif type(frame) is not VideoShard:
                self._handle_frame(now_us, client, path, address, frame)
                quiet = False
            elif client.sends_video:
                main = client.session.main
                if main.gap_us is not None:
                    client.frames.handle_gap(main.gap_us)
                capture_us = client.session.round_trip.to_local_us(frame.capture_us, now_us)
                client.frames.handle_shard(now_us, frame, capture_us)
                if frame.shard_index < frame.data_shards or not frame.answers_repair:
                    client.trains.handle_packet(now_us, main.highest, frame.frame_id)
        if quiet and frames and not client.frames.due and client.trains.urgent is None:
            self._touch(client)  # nothing comes of most shards but another time
        else:
            self._flush(client)
        if self._close_at_us is not None:
            self._look_closed()

    def handle_timeout(self, now_us: int) -> None:
        self._now_us = now_us
        self._listener.handle_timeout(now_us)
        for client in [one for one in self._clients.values() if one.has_something_to_do(now_us)]:
            if now_us >= client.drop_at_us:
                self._remove(client, "nothing heard for 15 s")
                continue
            feedback = client.handle_timeout(now_us, now_us + self._wall_offset_us)
            if feedback is not None:
                self._transmit(client, Channel.MAIN, feedback)
            self._flush(client)
        if self._close_at_us is not None:
            self._look_closed()

    # --- outputs ---

    @property
    def has_output(self) -> bool:
        """``poll_event`` or ``poll_transmit`` has something to give."""
        return bool(self._events or self._transmits)

    def poll_transmit(self) -> Transmit | None:
        return self._transmits.popleft() if self._transmits else None

    def poll_event(self) -> ServerEvent | None:
        return self._events.popleft() if self._events else None

    def poll_timeout(self) -> int | None:
        if self.closed:
            return None
        if self._timeout_us is None:
            soonest_us = self._close_at_us
            for client in self._clients.values():
                at_us = client.poll_timeout()
                if soonest_us is None or at_us < soonest_us:
                    soonest_us = at_us
            self._timeout_us = soonest_us
        return self._timeout_us

    def stats(self, now_us: int) -> dict[str, ClientStats]:
        """A snapshot of every client, by client id."""
        return {client_id: client.stats(now_us) for client_id, client in self._by_id.items()}

    @property
    def handshake_counters(self) -> dict[str, int]:
        """What became of the datagrams of strangers, by reason."""
        return dict(self._listener.counters)

    # --- inside ---

    def _is_full(self) -> bool:
        if len(self._clients) < self._config.max_clients:
            return False
        return all(self._now_us - c.session.last_heard_us < SILENT_US for c in self._clients.values())

    def _handle_frame(
        self, now_us: int, client: ServerClient, path: int, address: Address, frame: Frame
    ) -> None:
        if isinstance(frame, Control):
            try:
                self._handle_control(now_us, client, frame)
            except MalformedPacket:
                client.session.counters.packets_malformed += 1
        elif isinstance(frame, AudioBind):
            # The address of a client's sound is learnt here and nowhere else, behind the AEAD (RTPBleed).
            client.audio_address = address
            bound = client.session.seal(Channel.AUDIO, encode_audio_bound(AudioBound(frame.token)))
            self._transmits.append(Transmit(path, address, bound))

    def _handle_sound(self, came_us: int, client: ServerClient, packet: AudioPacket) -> None:
        client_id = client.client_id
        if not client.sends_audio or client_id is None:
            return
        capture_us = client.session.capture_us(packet.capture_us, came_us)
        for number, own_us, data, copy in client.audio.handle_packet(packet, capture_us):
            self._events.append(AudioReceived(client_id, number, own_us, data, came_us, copy))

    def _handle_control(self, now_us: int, client: ServerClient, control: Control) -> None:
        if control.kind == ControlKind.CONFIRM and not client.confirmed:
            confirm = decode_confirm_untrusted(control.body)
            client_id = client_id_of(confirm.resume_secret)
            before = self._by_id.get(client_id)
            if before is not None:
                self._remove(before, "came back in a new session")
            elif len(self._by_id) >= self._config.max_clients:
                client.session.send_control(now_us, ControlKind.BYE, encode_bye(Bye("the server is full")))
                return
            client.client_id = client_id
            client.name = clean_name(confirm.name)
            client.sends_video = Offer.VIDEO in confirm.offer
            client.sends_audio = Offer.AUDIO in confirm.offer
            client.session.round_trip.guess_offset(confirm.clock_us, now_us)
            client.session.peer_wall_offset_us = confirm.wall_us - confirm.clock_us
            client.latency_us = confirm.latency_ms * MS
            latency_us = self._agreed_latency_us(client)
            client.frames.set_latency(now_us, latency_us or None)
            self._by_id[client_id] = client
            self._events.append(
                ClientJoined(
                    client_id,
                    client.name,
                    client.address,
                    client.sends_video,
                    client.sends_audio,
                    before is not None,
                    latency_us,
                )
            )
            mux = self._config.mux_audio or Offer.MUX_AUDIO in confirm.offer
            if client.sends_audio and not mux:
                self._events.append(AudioPortWanted(client.session_id))
            else:
                client.audio_port = 0
                self._welcome(now_us, client)
        elif control.kind == ControlKind.STREAM and client.confirmed:
            client.latency_us = decode_stream_untrusted(control.body).latency_ms * MS
            self._change_latency(now_us, client)
        elif control.kind == ControlKind.BYE:
            client.leaving = decode_bye_untrusted(control.body).reason

    def _agreed_latency_us(self, client: ServerClient) -> int:
        """The larger of both sides' wishes."""
        return max(self._latency_us, client.latency_us)

    def _change_latency(self, now_us: int, client: ServerClient) -> None:
        latency_us = self._agreed_latency_us(client)
        client.frames.set_latency(now_us, latency_us or None)
        if client.client_id is not None:
            self._events.append(LatencyChanged(client.client_id, latency_us))

    def _welcome(self, now_us: int, client: ServerClient) -> None:
        roster = tuple(
            RosterEntry(client_id, other.name)
            for client_id, other in self._by_id.items()
            if other is not client
        )
        latency_ms = self._latency_us // MS
        welcome = Welcome(client.audio_port or 0, latency_ms, now_us, roster)
        client.session.send_control(now_us, ControlKind.WELCOME, encode_welcome(welcome))

    def _remove(self, client: ServerClient, reason: str) -> None:
        client.frames.close()
        self._timeout_us = None
        del self._clients[client.session_id]
        if client.client_id is not None and self._by_id.get(client.client_id) is client:
            del self._by_id[client.client_id]
            self._events.append(ClientLeft(client.client_id, clean_name(reason)))
        if client.audio_port:
            self._events.append(AudioPortReleased(client.audio_port))

    def _transmit(self, client: ServerClient, channel: Channel, plaintext: bytes) -> None:
        datagram = client.session.seal(channel, plaintext)
        self._transmits.append(Transmit(MAIN_PATH, client.address, datagram))

    def _flush(self, client: ServerClient) -> None:
        """Everything this client's last input brought about: frames that fell due, replies, the next timer."""
        client_id = client.client_id
        while (frame := client.frames.poll_frame()) is not None:
            if client_id is not None:
                wall_us = client.session.wall_us(frame.encoded.capture_us)
                self._events.append(VideoFrameDue(client_id, frame._replace(capture_wall_us=wall_us)))
        repairs, train = client.frames.take_repairs(), client.trains.take_urgent()
        if repairs or train is not None:
            told = map(encode_repair, repairs)
            train_told = b"" if train is None else encode_train(train)
            self._transmit(client, Channel.MAIN, b"".join(told) + train_told)
        while (plaintext := client.session.poll_plaintext()) is not None:
            self._transmit(client, Channel.MAIN, plaintext)
        self._touch(client)
        if client.leaving is not None and client.frames.idle:
            self._remove(client, client.leaving)

    def _touch(self, client: ServerClient) -> None:
        client.touch()
        self._timeout_us = None

    def _look_closed(self) -> None:
        if self._close_at_us is not None and (
            self._now_us >= self._close_at_us
            or all(client.session.control_idle for client in self._clients.values())
        ):
            self.closed = True
