"""``udpconf demo``: a server, senders and a viewer on this machine, through a bad network if asked."""

import socket
import statistics
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from udpconf.cli.console import Console, counted
from udpconf.cli.network import CUSTOM, Loss, ScenarioName, chosen_scenario
from udpconf.cli.network_words import in_words
from udpconf.cli.options import Display, JsonLines, Quiet, SpeakerName, Verbose, Version, flag
from udpconf.cli.sound import open_speaker
from udpconf.cli.stop import StopRequested, stop_on_terminate
from udpconf.cli.totals import SessionTotals
from udpconf.cli.window import require_display
from udpconf.errors import ConfigError, UdpconfError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from udpconf.app.sender import Sender
    from udpconf.app.server import Server
    from udpconf.app.values import Frame, ServerEvent
    from udpconf.cli.sources import Sources
    from udpconf.cli.wall import Wall
    from udpconf.emulation.scenario import Scenario

# The server listens on one loopback address, the bad network on another, so that both can have the same port numbers: a
# sender is told the port of its sound by number.
SERVER_HOST = "127.0.0.1"
NETWORK_HOST = "127.0.0.2"
OUT = Path("demo-output")
PICTURE_SIZE = (1280, 720)
# The n-th sender's tone, in Hz: three that sound well together.
TONES_HZ = (440.0, 554.4, 659.3)
# Above this no handshake comes about in the demo's time.
LOSS_MAX = 0.9
# What is on its way when the sources stop is shown within this; through a network with a name, which may have a satellite
# in it or a full queue, within the other.
DRAIN_S = 0.5
FAR_DRAIN_S = 2.0
LOOK_INTERVAL_S = 0.1
THREAD_END_S = 1.0


class Settings(NamedTuple):
    """What the flags said."""

    seconds: float
    scenario: "Scenario | None"  # the one that was named, or one of that loss; None: no bad network
    file: Path | None
    senders: int
    out: Path
    display: bool | None
    speaker: str | None


def demo(
    context: typer.Context,
    seconds: Annotated[float, flag("--seconds", min=1, max=3600, help="How long it runs.")] = 10,
    loss: Loss = None,
    scenario: ScenarioName = None,
    file: Annotated[
        Path | None,
        flag(
            "--file",
            metavar="PATH",
            help="Send this clip with its sound.",
            show_default="a test pattern with a tone",
        ),
    ] = None,
    senders: Annotated[
        int, flag("--senders", min=1, max=9, help="How many send; those after the first, patterns.")
    ] = 1,
    out: Annotated[
        Path, flag("--out", metavar="DIR", help="Where the recording and the picture of the window go.")
    ] = OUT,
    display: Display = None,
    speaker: SpeakerName = None,
    json_lines: JsonLines = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    version: Version = False,
) -> None:
    """See it work on this machine, through a bad network if asked.

    Sends, receives, shows, plays and records for some seconds, and says what arrived.
    """
    console: Console = context.obj
    console.configure(json_lines=json_lines, quiet=quiet, verbose=verbose)
    stop_on_terminate()
    if loss is not None and loss > LOSS_MAX:
        raise typer.BadParameter(f"--loss goes up to {LOSS_MAX:.0%}; with {loss:.0%} nobody connects.")
    bad_network = chosen_scenario(context, ("loss",)) if loss != 0 or scenario is not None else None
    _Demo(console, Settings(seconds, bad_network, file, senders, out, display, speaker)).run()


@dataclass
class _Participant:
    """One sender, and what the viewer saw of it."""

    name: str
    sender: "Sender"
    sources: "Sources"
    delays_ms: list[float] = field(default_factory=list)  # capture to decoded picture
    last_frame: "Frame | None" = None
    received: SessionTotals = field(default_factory=SessionTotals)
    figures: dict[str, Any] = field(default_factory=dict)


class _Demo:
    """One run."""

    def __init__(self, console: Console, settings: Settings) -> None:
        self._console = console
        self._settings = settings
        self._participants: dict[str, _Participant] = {}  # by name
        self._recordings: list[Path] = []
        self._quit = threading.Event()
        self._seconds = settings.seconds  # that it really ran
        self._wall: Wall | None = None

    def run(self) -> None:
        from udpconf.app.server import Server

        settings, console = self._settings, self._console
        stopped: StopRequested | None = None
        require_display(settings.display)
        low, high = _free_ports(settings.senders)
        with ExitStack() as stack:
            server = stack.enter_context(Server(SERVER_HOST, 0, audio_ports=(low, high)))
            threads = [self._start_thread("events", self._note_recordings, server.events())]
            server.start_recording(settings.out)
            self._open_window(stack, server)
            threads.append(self._start_thread("view", self._view, server))
            open_speaker(server, settings.speaker, self._console)
            host = self._open_network(stack, (server.port, *range(low, high + 1)))
            for index in range(settings.senders):
                self._open_sender(stack, index, host, server)
            through = f" through {in_words(settings.scenario)}" if settings.scenario is not None else ""
            console.say(f"Sending for {settings.seconds:g} s{through} (Ctrl-C ends it) ...")
            started_s = time.monotonic()
            try:
                self._wait(server)
            except StopRequested as stop:
                if not all(participant.delays_ms for participant in self._participants.values()):
                    raise
                stopped = stop  # what came until then is worth telling
            self._seconds = time.monotonic() - started_s
            # Afterwards the end of the sound is concealed too, until its jitter buffer believes it.
            self._look(server)
            concealed = {
                name: one.received["audio_frames_concealed"] for name, one in self._participants.items()
            }
            for participant in self._participants.values():
                participant.sources.stop()
            named = settings.scenario is not None and settings.scenario.name != CUSTOM
            time.sleep(FAR_DRAIN_S if named else DRAIN_S)
            self._collect(server, concealed)
        for thread in threads:  # they end with the server, and the recordings are closed then
            thread.join(THREAD_END_S)
        self._report(self._draw())
        if stopped is not None:
            raise stopped

    # --- setting up --------------------------------------------------------------------------------------------------

    def _start_thread(self, name: str, target: Any, argument: Any) -> threading.Thread:
        thread = threading.Thread(target=target, args=(argument,), name=f"udpconf {name}", daemon=True)
        thread.start()
        return thread

    def _open_window(self, stack: ExitStack, server: "Server") -> None:
        from udpconf.cli.wall import open_wall

        self._wall, why_not = open_wall(
            self._settings.display,
            "udpconf demo",
            "grid",
            "Keys: q quits, f full screen",
            lambda key: self._quit.set() if key == "q" else None,
            present=lambda: {client.id for client in server.clients()},
        )
        if self._wall is not None:
            stack.callback(self._wall.close)
        elif why_not:
            self._console.say(f"No window: {why_not}")

    def _open_network(self, stack: ExitStack, ports: tuple[int, ...]) -> str:
        """The host to send to: the server's own, or that of a bad network in front of it."""
        if self._settings.scenario is None:
            return SERVER_HOST
        from udpconf.emulation.proxy import UdpProxy

        targets = {port: (SERVER_HOST, port) for port in ports}
        try:
            stack.enter_context(UdpProxy(NETWORK_HOST, targets, self._settings.scenario))
        except OSError as error:
            raise ConfigError(
                f"The bad network does not start: {error}. It needs the loopback address {NETWORK_HOST}, which Linux has."
            ) from error
        return NETWORK_HOST

    def _open_sender(self, stack: ExitStack, index: int, host: str, server: "Server") -> None:
        from udpconf.app.sender import Sender
        from udpconf.cli.sources import Media, Picture, open_sources

        name = f"sender-{index + 1}"
        with_file = index == 0 and self._settings.file is not None
        sources = open_sources(
            Media(
                picture=Picture.FILE if with_file else Picture.PATTERN,
                file=self._settings.file,
                loop=True,
                tone_hz=TONES_HZ[index % len(TONES_HZ)],
            ),
            self._console,
        )
        stack.callback(sources.stop)
        sender = stack.enter_context(
            Sender(host, server.port, passphrase=server.passphrase, name=name, audio=sources.has_sound)
        )
        self._participants[name] = _Participant(name, sender, sources)
        sources.start(sender.send_video, sender.send_audio)

    # --- while it runs -----------------------------------------------------------------------------------------------

    def _wait(self, server: "Server") -> None:
        deadline_s = time.monotonic() + self._settings.seconds
        while time.monotonic() < deadline_s and not self._quit.is_set():
            for participant in self._participants.values():
                error = participant.sources.error or participant.sender.error
                if error is not None:
                    raise error
            self._quit.wait(LOOK_INTERVAL_S)
            self._look(server)

    def _look(self, server: "Server") -> None:
        for stats in server.stats().values():
            if (participant := self._participants.get(stats.name)) is not None:
                participant.received.look(stats)

    def _note_recordings(self, feed: "Iterable[ServerEvent]") -> None:
        from udpconf.app.values import RecordingEnded

        for event in feed:
            if isinstance(event, RecordingEnded):
                self._recordings.append(event.path)

    def _view(self, server: "Server") -> None:
        """The viewer: what a program that shows pictures would do."""
        from udpconf.net.clock import monotonic_us

        for frame in server.frames():
            participant = self._participants.get(frame.client.name)
            if participant is None:
                continue
            participant.delays_ms.append((monotonic_us() - frame.capture_us) / 1000)
            participant.last_frame = frame
            if self._wall is not None:
                self._wall.put(frame.client.id, **_tile_fields(frame), image=frame.image)

    # --- what came of it ---------------------------------------------------------------------------------------------

    def _collect(self, server: "Server", concealed: dict[str, int]) -> None:
        self._look(server)
        for participant in self._participants.values():
            received, sent = participant.received, participant.sender.stats()
            if received.last is None or not participant.delays_ms:
                raise UdpconfError(
                    f"Nothing of {participant.name} arrived. `udpconf doctor` says what may be wrong."
                )
            # quantiles() wants two values; a single frame has one delay, and that is all its quantiles.
            delays = statistics.quantiles(participant.delays_ms * 2, n=100, method="inclusive")
            packets = received["packets_received"] + received["packets_lost"]
            participant.figures = {
                "name": participant.name,
                "source": participant.sources.description,
                "frames_captured": sent.frames_sent + sent.frames_dropped_away + sent.frames_skipped_ceiling,
                "frames_sent": sent.frames_sent,
                "frames_whole": received["frames_whole"],
                "frames_with_holes": received["frames_with_holes"],
                "frames_skipped": received["frames_skipped"],
                "fresh_area_share": round(received.last.fresh_area_share, 4),
                "latency_p50_ms": round(delays[49], 2),
                "latency_p99_ms": round(delays[98], 2),
                "loss_share": round(received["packets_lost"] / packets, 4) if packets else 0.0,
                "received_kbps": round(received.last.received_kbps),
                "audio_frames_sent": sent.audio_frames_sent,
                "audio_frames_received": received["audio_frames_received"]
                - received["audio_frames_duplicate"],
                "audio_frames_from_copies": received["audio_frames_from_copies"],
                "audio_frames_concealed": concealed[participant.name],
                "times_lost": received.times_lost,
            }

    def _draw(self) -> Path:
        from udpconf.cli.wall import write_png
        from udpconf.media.grid import Tile, compose

        tiles = [
            Tile(
                **_tile_fields(frame),
                image=frame.image,
                frames_per_second=participant.figures["frames_sent"] / self._seconds,
                loss_percent=100 * participant.figures["loss_share"],
                recording=True,
            )
            for participant in self._participants.values()
            if (frame := participant.last_frame) is not None
        ]
        return write_png(self._settings.out / "grid.png", compose(tiles, *PICTURE_SIZE))

    def _report(self, picture: Path) -> None:
        figures = [participant.figures for participant in self._participants.values()]
        if self._console.json_lines:
            self._console.line(
                {
                    "event": "demo",
                    "scenario": None if self._settings.scenario is None else self._settings.scenario.name,
                    "senders": figures,
                    "recordings": [str(path) for path in self._recordings],
                    "picture": str(picture),
                }
            )
            return
        say = self._console.result
        for one in figures:
            say(f"{one['name']} ({one['source']})")
            say(
                f"  frames   {one['frames_captured']} captured, {one['frames_sent']} sent: {one['frames_whole']} shown whole, "
                f"{one['frames_with_holes']} with holes, {one['frames_skipped']} skipped; "
                f"{100 * one['fresh_area_share']:.2f} % of the area fresh"
            )
            say(
                f"  latency  p50 {one['latency_p50_ms']:.1f} ms, p99 {one['latency_p99_ms']:.1f} ms, capture to picture"
            )
            say(
                f"  network  {one['received_kbps']} kbit/s, {100 * one['loss_share']:.2f} % of the datagrams lost"
            )
            say(
                f"  sound    {one['audio_frames_received']} of {one['audio_frames_sent']} frames of 10 ms, "
                f"{one['audio_frames_from_copies']} of them from a copy; {one['audio_frames_concealed']} concealed"
            )
            if one["times_lost"]:
                say(
                    f"  session  lost and found again {counted(one['times_lost'], 'time')}; the figures of what was received "
                    "leave out what was sent meanwhile"
                )
        for path in self._recordings:
            say(f"recording  {path}   play it with: ffplay {path}")
        say(f"picture    {picture}")


def _tile_fields(frame: "Frame") -> dict[str, Any]:
    host, port = frame.client.address
    return {
        "name": frame.client.name,
        "address": f"{host}:{port}",
        "capture_wall_us": int(frame.capture_time * 1_000_000),
    }


def _free_ports(count: int) -> tuple[int, int]:
    """The first and the last of so many UDP ports in a row that are free on both loopback addresses."""
    for _ in range(100):
        with ExitStack() as stack:
            try:
                first = stack.enter_context(_bound(SERVER_HOST, 0)).getsockname()[1]
                if first + count > 65_536:
                    continue
                for port in range(first + 1, first + count):
                    stack.enter_context(_bound(SERVER_HOST, port))
            except OSError:
                continue
            return first, first + count - 1
    raise ConfigError(f"No {count} free UDP ports in a row were found on this machine. Close some programs.")


def _bound(host: str, port: int) -> socket.socket:
    bare = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        bare.bind((host, port))
    except OSError:
        bare.close()
        raise
    return bare
