"""``udpconf serve``: takes senders in, shows them, plays them, records them."""

import queue
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from udpconf import config
from udpconf.cli.console import Console, counted
from udpconf.cli.live import LiveStatistics
from udpconf.cli.options import (
    AudioPorts,
    Display,
    JsonLines,
    LatencyMs,
    MuxAudio,
    OpenRoom,
    PassphraseFile,
    Port,
    Quiet,
    SpeakerName,
    Verbose,
    Version,
    flag,
)
from udpconf.cli.secret import secret_for_serving
from udpconf.cli.serve_table import COLUMNS, WIDE, table
from udpconf.cli.sound import next_speaker, open_speaker, tell_speaker
from udpconf.cli.stop import StopRequested, stop_on_terminate
from udpconf.cli.volumes import Volumes
from udpconf.cli.window import require_display
from udpconf.errors import ConfigError
from udpconf.limits import CLIENTS_DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from udpconf.app.server import Server
    from udpconf.app.values import ServerEvent
    from udpconf.cli.wall import Wall

# Where the r key records to when --record names no other place.
RECORDINGS = Path("recordings")
# How often keys and statistics are looked at.
LOOK_INTERVAL_S = 0.1
# How often the captions' rates are brought up to date.
CAPTION_INTERVAL_S = 1.0
# A thread that ends with the server is waited for so long: one picture is decoded and drawn in a tenth of it.
THREAD_END_S = 1.0
# Of full scale, -34 dB: a quiet voice before a microphone; a room without one is 10 to 20 dB below.
_SPEAKING_LEVEL = 0.02
# Said in the window while it is empty.
KEYS = """Keys: q quits, r records, f full screen, m mutes all, o next speaker, s saves a picture
Tab or 1 to 9 selects somebody: x mutes, + and - change the volume"""


class LayoutName(StrEnum):
    """How several senders are shown."""

    GRID = "grid"
    WINDOWS = "windows"


class Settings(NamedTuple):
    """What the flags said."""

    host: str
    port: int
    audio_ports: config.PortRange
    mux_audio: bool
    max_clients: int
    latency_ms: float | None
    display: bool | None
    layout: LayoutName
    speaker: str | None
    record: Path | None
    open_room: bool
    secret: str | None


def serve(
    context: typer.Context,
    host: Annotated[str, flag("--host", help="Address to listen on; :: for all with IPv6.")] = "0.0.0.0",
    port: Port = config.DEFAULT_PORT,
    audio_ports: AudioPorts = config.DEFAULT_AUDIO_PORTS,
    mux_audio: MuxAudio = False,
    max_clients: Annotated[
        int, flag("--max-clients", min=1, help="How many may send at once.")
    ] = CLIENTS_DEFAULT,
    latency_ms: LatencyMs = None,
    display: Display = None,
    layout: Annotated[
        LayoutName, flag("--layout", help="All senders in one window, or one each.")
    ] = LayoutName.GRID,
    speaker: SpeakerName = None,
    record: Annotated[
        Path | None,
        flag("--record", metavar="DIR", help="Record everybody into this directory.", show_default="off"),
    ] = None,
    open_room: OpenRoom = False,
    passphrase_file: PassphraseFile = None,
    json_lines: JsonLines = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    version: Version = False,
) -> None:
    """Take senders in: show them, play their sound, record them. The first line printed is the URL to join.

    Keys in the window: q quits, r starts and stops recording, f full screen, m mutes all, o plays on the next
    speaker, s saves a picture; Tab or 1-9 selects somebody, whom x mutes and + and - make louder and softer.
    """
    console: Console = context.obj
    console.configure(json_lines=json_lines, quiet=quiet, verbose=verbose)
    stop_on_terminate()
    settings = Settings(
        host,
        port,
        audio_ports,
        mux_audio,
        max_clients,
        latency_ms,
        display,
        layout,
        speaker,
        record,
        open_room,
        secret_for_serving(passphrase_file, open_room=open_room),
    )
    _Serving(console, settings).run()


class _Serving:
    """One run: the server, the window, the speaker, and what is said about them."""

    def __init__(self, console: Console, settings: Settings) -> None:
        self._console = console
        self._settings = settings
        self._keys: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._wall: Wall | None = None
        self._volumes: Volumes | None = None  # there are keys for it in the window only
        self._announced = False
        self._threads: list[threading.Thread] = []
        self._recording: set[str] = set()  # clients with an open file; written by the event thread
        self._joined: set[str] = set()
        self._files = 0

    def run(self) -> None:
        from udpconf.app.server import Server

        settings = self._settings
        started_s = time.monotonic()
        reason = "error"
        require_display(settings.display)
        try:
            with ExitStack() as stack:
                server = stack.enter_context(
                    Server(
                        settings.host,
                        settings.port,
                        passphrase=settings.secret,
                        open=settings.open_room,
                        latency_ms=settings.latency_ms,
                        audio_ports=settings.audio_ports,
                        max_clients=settings.max_clients,
                        mux_audio=settings.mux_audio,
                    )
                )
                events = server.events()  # from here on none is missed
                if settings.record is not None:
                    server.start_recording(settings.record)
                # Before the address is given out: a speaker that was named may not be there.
                open_speaker(server, settings.speaker, self._console)
                self._announce(server)
                self._start(self._tell, events)  # "listening" comes before the first that joined
                tell_speaker(server, self._console)
                self._open_window(server, stack)
                self._loop(server)
                reason = "q"
        except StopRequested as stop:
            reason = stop.reason
            raise
        finally:
            # They end with the server: one still tells which recordings were closed, one may be decoding.
            for thread in self._threads:
                thread.join(THREAD_END_S)
            if self._announced:
                self._summarize(reason, time.monotonic() - started_s)

    def _announce(self, server: "Server") -> None:
        settings, url = self._settings, self._url(server)
        self._announced = True
        if self._console.json_lines:
            self._console.line(
                {
                    "event": "listening",
                    "url": url,
                    "host": settings.host,
                    "port": server.port,
                    "audio_ports": list(settings.audio_ports),
                    "open": settings.open_room,
                }
            )
        else:
            self._console.result(url)
        self._console.say(f"Senders join with: udpconf send '{url}'" + " --open" * settings.open_room)
        if config.parse_join_url(url).host == "127.0.0.1" != settings.host:
            self._console.say(
                "No other address of this machine was found: that one is good on this machine alone."
            )
        if settings.secret is not None:
            self._console.say("They need the passphrase too; `udpconf send` asks for it.")
        if settings.open_room:
            self._console.say("The room is open: whoever reaches this port may send to it.")

    def _url(self, server: "Server") -> str:
        """What may be shown: with the key that was made here, without a passphrase that the operator gave."""
        return server.url if self._settings.secret is None else server.url.partition("#")[0]

    def _open_window(self, server: "Server", stack: ExitStack) -> None:
        if self._settings.display is False:
            return
        from udpconf.cli.wall import open_wall

        self._wall, why_not = open_wall(
            self._settings.display,
            f"udpconf on port {server.port}",
            self._settings.layout.value,
            f"udpconf send '{self._url(server)}'\n{KEYS}",
            self._keys.put,
            present=lambda: {client.id for client in server.clients()},
        )
        if self._wall is None:
            self._console.say(f"No window: {why_not}")
            return
        self._volumes = Volumes(server.set_volume, self._wall.clients)
        stack.callback(self._wall.close)
        self._start(self._show, server)

    def _start(self, target: Callable[[Any], None], argument: object) -> None:
        thread = threading.Thread(
            target=target, args=(argument,), name=f"udpconf {target.__name__}", daemon=True
        )
        thread.start()
        self._threads.append(thread)

    # --- the threads beside the main one -----------------------------------------------------------------------------

    def _show(self, server: "Server") -> None:
        """Bring every picture to the wall; ends with the server."""
        wall = self._wall
        assert wall is not None
        for frame in server.frames():
            wall.put(
                frame.client.id,
                name=frame.client.name,
                address=_place(frame.client.address),
                image=frame.image,
                capture_wall_us=int(frame.capture_time * 1_000_000),
                recording=frame.client.id in self._recording,
            )

    def _tell(self, feed: "Iterable[ServerEvent]") -> None:
        """Say who comes and goes; ends with the server."""
        try:
            for event in feed:
                self._tell_event(event)
        except StopRequested:  # whoever read our events has gone
            self._keys.put("q")

    def _tell_event(self, event: "ServerEvent") -> None:
        from udpconf.app import values

        say = self._console.event
        if isinstance(event, values.ClientRefused):
            place, reason = _place(event.address), "most likely it has another key or passphrase"
            say("refused", f"refused {place}: {reason}", address=place, reason=reason)
            return
        client = event.client
        who = f"{client.name} ({_place(client.address)})"
        fields = {"client": client.id, "name": client.name}
        match event:
            case values.ClientJoined(rejoined=rejoined):
                self._joined.add(client.id)
                if self._volumes is not None:
                    with suppress(ConfigError):  # it has left again
                        self._volumes.joined(client.id)
                if self._wall is not None:
                    self._wall.put(client.id, name=client.name, address=_place(client.address))
                say(
                    "joined",
                    f"{who} is back" if rejoined else f"{who} joined",
                    **fields,
                    address=_place(client.address),
                    rejoined=rejoined,
                )
            case values.ClientLeft(reason=reason):
                if self._wall is not None:
                    self._wall.remove(client.id)
                say("left", f"{who} left: {reason}", **fields, reason=reason)
            case values.RecordingStarted(path=path):
                self._recording.add(client.id)
                self._files += 1
                say("recording_started", f"recording {who} to {path}", **fields, path=str(path))
            case values.RecordingEnded(path=path, reason=reason):
                self._recording.discard(client.id)
                say(
                    "recording_ended",
                    f"recording of {who} closed: {path} ({reason})",
                    **fields,
                    path=str(path),
                    reason=reason,
                )

    # --- the main thread ---------------------------------------------------------------------------------------------

    def _loop(self, server: "Server") -> None:
        """Until q: keys, captions, statistics."""
        next_caption_s = 0.0
        with LiveStatistics(
            self._console, "", COLUMNS, lambda: table(server.stats(), self._recording), wide=len(WIDE)
        ) as live:
            while True:
                try:
                    key = self._keys.get(timeout=LOOK_INTERVAL_S)
                except queue.Empty:
                    key = ""
                if key == "q":
                    return
                if key:
                    self._handle_key(server, key)
                    next_caption_s = 0.0
                if self._wall is not None and time.monotonic() >= next_caption_s:
                    next_caption_s = time.monotonic() + CAPTION_INTERVAL_S
                    self._update_captions(server, self._wall)
                live.tick()

    def _handle_key(self, server: "Server", key: str) -> None:
        try:
            if key == "r":
                if server.recording:
                    server.stop_recording()
                else:
                    server.start_recording(self._settings.record or RECORDINGS)
            elif key == "m":
                server.mute(not server.muted)
                self._console.say("muted" if server.muted else "sound is on")
            elif key == "o":
                next_speaker(server, self._console)
            elif key == "s" and self._wall is not None:
                stem = f"udpconf-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
                path = self._wall.snapshot(self._settings.record or Path(), stem)
                self._console.event("snapshot", f"saved {path}", path=str(path))
            elif self._volumes is not None:
                self._volumes.handle_key(key)
        except ConfigError as error:  # a full disk or a foreign directory: said, and the server goes on
            self._console.say(str(error))

    def _update_captions(self, server: "Server", wall: "Wall") -> None:
        everybody = server.stats()
        speaking = max([_SPEAKING_LEVEL, *(stats.audio_level / 2 for stats in everybody.values())])
        volumes = self._volumes
        assert volumes is not None  # it comes with the wall
        for client_id, stats in everybody.items():
            volume = volumes.of(client_id)
            wall.update(
                client_id,
                frames_per_second=stats.video_fps,
                loss_percent=100 * stats.loss_share,
                recording=client_id in self._recording,
                muted=server.muted or volume.muted,
                volume_db=volume.decibels,
                selected=client_id == volumes.selected,
                speaking=stats.audio_level >= speaking,
            )

    def _summarize(self, reason: str, seconds: float) -> None:
        self._console.event(
            "ended",
            f"Ended ({reason}) after {seconds:.0f} s: {counted(len(self._joined), 'sender')}, "
            f"{counted(self._files, 'recording')}.",
            reason=reason,
            seconds=round(seconds, 1),
            senders=len(self._joined),
            recordings=self._files,
        )


def _place(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
