"""``udpconf demo``: a server, senders and a viewer on this machine, through a bad network if asked."""

import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from udpconf.cli.console import Console
from udpconf.cli.demo_figures import Participant, draw, report, tile_fields
from udpconf.cli.demo_network import SERVER_HOST, free_ports, open_network
from udpconf.cli.network import CUSTOM, Loss, ScenarioName, chosen_scenario
from udpconf.cli.network_words import in_words
from udpconf.cli.options import (
    DEFAULT_SEED,
    Display,
    JsonLines,
    Quiet,
    Seed,
    SpeakerName,
    Verbose,
    Version,
    flag,
    source_of,
)
from udpconf.cli.sound import open_speaker
from udpconf.cli.stop import StopRequested, check_stop, stop_on_terminate
from udpconf.cli.window import require_display

if TYPE_CHECKING:
    from collections.abc import Iterable

    from udpconf.app.server import Server
    from udpconf.app.values import ServerEvent
    from udpconf.cli.wall import Wall
    from udpconf.emulation.scenario import Scenario

OUT = Path("demo-output")
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
    seed: str
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
    seed: Seed = DEFAULT_SEED,
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
    if bad_network is None and source_of(context, "seed") == "COMMANDLINE":
        raise typer.BadParameter(
            "--seed does nothing without --loss or --scenario; add one, or leave it out."
        )
    _Demo(console, Settings(seconds, bad_network, seed, file, senders, out, display, speaker)).run()


class _Demo:
    """One run."""

    def __init__(self, console: Console, settings: Settings) -> None:
        self._console = console
        self._settings = settings
        self._participants: dict[str, Participant] = {}  # by name
        self._recordings: list[Path] = []
        self._quit = threading.Event()
        self._seconds = settings.seconds  # that it really ran
        self._wall: Wall | None = None

    def run(self) -> None:
        from udpconf.app.server import Server

        settings, console = self._settings, self._console
        stopped: StopRequested | None = None
        require_display(settings.display)
        low, high = free_ports(settings.senders)
        with ExitStack() as stack:
            server = stack.enter_context(Server(SERVER_HOST, 0, audio_ports=(low, high)))
            threads = [self._start_thread("events", self._note_recordings, server.events())]
            server.start_recording(settings.out)
            self._open_window(stack, server)
            threads.append(self._start_thread("view", self._view, server))
            open_speaker(server, settings.speaker, self._console)
            host = open_network(stack, settings.scenario, settings.seed, (server.port, *range(low, high + 1)))
            for index in range(settings.senders):
                self._open_sender(stack, index, host, server)
            through = ""
            if settings.scenario is not None:
                through = f" through {in_words(settings.scenario)}, seed {settings.seed}"
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
            self._look(server)
            for participant in self._participants.values():
                participant.collect(concealed[participant.name])
        for thread in threads:  # they end with the server, and the recordings are closed then
            thread.join(THREAD_END_S)
        participants = self._participants.values()
        report(
            console,
            settings.scenario,
            settings.seed,
            [participant.figures for participant in participants],
            self._recordings,
            draw(participants, self._seconds, settings.out),
        )
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
        self._participants[name] = Participant(name, sender, sources)
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
            check_stop()
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
                self._wall.put(frame.client.id, **tile_fields(frame), image=frame.image)
