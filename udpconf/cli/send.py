"""``udpconf send``: a camera, a file, the screen or a test pattern, with sound, to a server."""

import queue
import socket
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from udpconf import config
from udpconf.cli.console import Console
from udpconf.cli.live import LiveStatistics, Readout
from udpconf.cli.options import (
    JsonLines,
    LatencyMs,
    MuxAudio,
    OpenRoom,
    PassphraseFile,
    Port,
    Quiet,
    Verbose,
    Version,
    flag,
)
from udpconf.cli.secret import secret_for_sending
from udpconf.cli.send_flags import chosen_picture, cleans_voice, lowest_quality, refuse_idle_flags
from udpconf.cli.sources import DEFAULT_TONE_HZ, Media, Picture, Sources, open_sources
from udpconf.cli.stop import StopRequested, stop_on_terminate
from udpconf.cli.window import require_display
from udpconf.errors import ConnectError, LocalProtocolError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from udpconf.app.sender import Sender
    from udpconf.app.values import SenderStats
    from udpconf.cli.wall import Wall

LOOK_INTERVAL_S = 0.1
COLUMNS = ("state", "fps", "kbit/s", "quality", "RTT ms", "loss %", "frames", "dropped")
PREVIEW = "preview"


class CodecName(StrEnum):
    """How pictures are compressed."""

    JPEG = "jpeg"
    LZ4 = "lz4"


class FrameMs(StrEnum):
    """How many milliseconds of sound a packet holds."""

    SHORT = "5"
    NORMAL = "10"
    LONG = "20"


class Settings(NamedTuple):
    """What the flags said about the session."""

    target: config.Target
    secret: str | None
    name: str
    quality: int
    min_quality: int
    max_bitrate_kbps: int
    codec: CodecName
    latency_ms: float | None
    mux_audio: bool
    recovery: bool
    voice: bool
    preview: bool | None
    audio_frame_ms: int
    dtx: bool


def send(
    context: typer.Context,
    server: Annotated[
        str,
        typer.Argument(
            envvar="UDPCONF_SERVER",
            metavar="[HOST|URL]",
            help="The server, or the URL that it printed (in quotes).",
        ),
    ] = "127.0.0.1",
    port: Port = config.DEFAULT_PORT,
    camera: Annotated[
        int,
        flag(
            "--camera",
            min=0,
            metavar="N",
            help="Send this camera (see `udpconf devices`). The default source.",
        ),
    ] = 0,
    file: Annotated[
        Path | None, flag("--file", metavar="PATH", help="Send a file with its sound.", show_default=False)
    ] = None,
    loop: Annotated[bool, flag("--loop", help="Play the file again and again.")] = False,
    screen: Annotated[bool, flag("--screen", help="Send the screen.")] = False,
    test_pattern: Annotated[
        bool,
        flag("--test-pattern", help="Send a pattern with frame number, clock and a tone; needs no device."),
    ] = False,
    tone: Annotated[
        float, flag("--tone", min=0, max=20_000, metavar="HZ", help="The test pattern's tone; 0 for none.")
    ] = DEFAULT_TONE_HZ,
    no_video: Annotated[bool, flag("--no-video", help="Send sound alone.")] = False,
    mic: Annotated[
        str | None,
        flag(
            "--mic",
            metavar="NAME|INDEX|none",
            show_default="the system's, or the sound of the file or pattern",
            help="The microphone (see `udpconf devices`); none for no sound at all.",
        ),
    ] = None,
    voice: Annotated[
        bool, flag("--voice", help="Clean the microphone's sound for talking: noise, rumble, loudness.")
    ] = False,
    stereo: Annotated[bool, flag("--stereo", help="Send two channels of sound instead of one.")] = False,
    audio_frame_ms: Annotated[
        FrameMs, flag("--audio-frame-ms", help="Milliseconds of sound in a packet.")
    ] = FrameMs.NORMAL,
    dtx: Annotated[
        bool, flag("--dtx", help="Leave silence out: send next to nothing while nobody speaks.")
    ] = False,
    name: Annotated[
        str | None, flag("--name", help="Label shown to others.", show_default="this machine's name")
    ] = None,
    width: Annotated[
        int, flag("--width", min=16, max=3840, help="Width of the picture in pixels; the height follows.")
    ] = 640,
    fps: Annotated[float, flag("--fps", min=0.1, max=240, help="Frames a second.")] = 30,
    quality: Annotated[int, flag("--quality", min=1, max=100, help="Highest JPEG quality.")] = 75,
    min_quality: Annotated[int, flag("--min-quality", min=1, max=100, help="Lowest JPEG quality.")] = 20,
    max_bitrate_kbps: Annotated[
        int, flag("--max-bitrate-kbps", metavar="KBPS", help="Ceiling for everything sent, in kbit/s.")
    ] = 4000,
    codec: Annotated[
        CodecName, flag("--codec", help="jpeg, or lz4: lossless, for screens on a fast network.")
    ] = CodecName.JPEG,
    latency_ms: LatencyMs = None,
    mux_audio: MuxAudio = False,
    recovery: Annotated[
        bool,
        flag("--recovery/--no-recovery", help="Send parity, and again what is lost; if not, it is a hole."),
    ] = True,
    preview: Annotated[
        bool | None,
        flag("--preview/--no-preview", help="Show what is sent.", show_default="if there is a display"),
    ] = None,
    open_room: OpenRoom = False,
    passphrase_file: PassphraseFile = None,
    json_lines: JsonLines = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    version: Version = False,
) -> None:
    """Send a camera, a file, the screen or a pattern, with sound.

    A server that is lost is looked for again every second, for as long as this runs. The key q in the preview quits.
    """
    console: Console = context.obj
    console.configure(json_lines=json_lines, quiet=quiet, verbose=verbose)
    stop_on_terminate()
    target = config.parse_target(server, port)
    config.check_bitrate_kbps(max_bitrate_kbps)
    picture = chosen_picture(context)
    refuse_idle_flags(context, picture)
    voice = cleans_voice(context, picture)
    settings = Settings(
        target,
        secret_for_sending(passphrase_file, target.passphrase, open_room=open_room),
        name or socket.gethostname(),
        quality,
        lowest_quality(context, quality, min_quality),
        max_bitrate_kbps,
        codec,
        latency_ms,
        mux_audio,
        recovery,
        voice,
        preview if picture is not Picture.NONE else False,
        int(audio_frame_ms),
        dtx,
    )
    media = Media(picture, camera, file, loop, tone, mic, width, fps, stereo)
    _Sending(console, settings, media).run()


class _Sending:
    """One run: the sources, the session, the preview, and what is said about them."""

    def __init__(self, console: Console, settings: Settings, media: Media) -> None:
        self._console = console
        self._settings = settings
        self._media = media
        self._keys: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._sender: Sender | None = None
        self._wall: Wall | None = None
        self._place = f"{settings.target.host}, UDP port {settings.target.port}"
        self._last: SenderStats | None = None
        self._marked = (time.monotonic(), 0)  # when frames were counted last, and how many there were

    def run(self) -> None:
        from udpconf.app.sender import Sender

        settings = self._settings
        started_s = time.monotonic()
        reason = "error"
        require_display(settings.preview)
        try:
            # The sources come first: a missing file or camera is told at once, not after the server was found.
            with ExitStack() as stack:
                sources = open_sources(self._media, self._console)
                stack.callback(sources.stop)
                if sources.live:
                    sources.start(self._on_picture, self._on_sound)
                self._console.event(
                    "connecting",
                    f"Connecting to {self._place} ...",
                    host=settings.target.host,
                    port=settings.target.port,
                )
                sender = self._sender = stack.enter_context(
                    Sender(
                        settings.target.host,
                        settings.target.port,
                        passphrase=settings.secret,
                        name=settings.name,
                        video=sources.has_picture,
                        audio=sources.has_sound,
                        max_bitrate_kbps=settings.max_bitrate_kbps,
                        quality=settings.quality,
                        min_quality=settings.min_quality,
                        latency_ms=settings.latency_ms,
                        codec=settings.codec.value,
                        fps=self._media.fps,
                        mux_audio=settings.mux_audio,
                        recovery=settings.recovery,
                        voice=settings.voice,
                        audio_channels=2 if self._media.stereo else 1,
                        audio_frame_ms=settings.audio_frame_ms,
                        dtx=settings.dtx,
                    )
                )
                self._console.event(
                    "connected",
                    f"Sending {sources.description} to {self._place}.",
                    host=settings.target.host,
                    port=settings.target.port,
                    source=sources.description,
                    sound=sources.has_sound,
                )
                self._open_preview(stack, sources)
                if not sources.live:
                    sources.start(self._on_picture, self._on_sound)
                try:
                    reason = self._loop(sender, sources)
                finally:
                    sources.stop()
                    self._last = sender.stats()
        except StopRequested as stop:
            reason = stop.reason
            if self._sender is None:
                self._console.event(
                    "ended",
                    f"Ended ({reason}) before {self._place} answered.",
                    reason=reason,
                    seconds=round(time.monotonic() - started_s, 1),
                    frames_sent=0,
                    audio_frames_sent=0,
                )
            raise
        finally:
            if self._sender is not None:
                self._summarize(reason, time.monotonic() - started_s)

    # --- from the sources' threads -----------------------------------------------------------------------------------

    def _on_picture(self, image: "NDArray[np.uint8]", capture_us: int) -> None:
        if self._sender is None:
            return
        if self._wall is not None:
            self._wall.put(PREVIEW, image=image, capture_wall_us=time.time_ns() // 1000)
        with suppress(
            ConnectError, LocalProtocolError
        ):  # the server does not want us back, or we are ending: see _loop
            self._sender.send_video(image, capture_us)

    def _on_sound(self, pcm: "NDArray[np.int16]", capture_us: int) -> None:
        if self._sender is not None:
            with suppress(ConnectError, LocalProtocolError):
                self._sender.send_audio(pcm, capture_us)

    # --- the main thread ---------------------------------------------------------------------------------------------

    def _open_preview(self, stack: ExitStack, sources: Sources) -> None:
        if self._settings.preview is False or not sources.has_picture:
            return
        from udpconf.cli.wall import open_wall

        self._wall, why_not = open_wall(
            self._settings.preview,
            f"udpconf preview, to {self._place}",
            "grid",
            "",
            self._keys.put,
            (self._media.width, self._media.width * 9 // 16),
        )
        if self._wall is None:
            self._console.say(f"No preview: {why_not}")
            return
        stack.callback(self._wall.close)
        self._wall.put(PREVIEW, name=self._settings.name, address=f"to {self._place}")

    def _loop(self, sender: "Sender", sources: Sources) -> str:
        """Until the sources end or q; the reason."""
        connected = True
        with LiveStatistics(self._console, "", COLUMNS, lambda: self._read(sender)) as live:
            while not sources.ended:
                try:
                    if self._keys.get(timeout=LOOK_INTERVAL_S) == "q":
                        return "q"
                except queue.Empty:
                    pass
                if sender.error is not None:
                    raise sender.error
                if sender.connected is not connected:
                    connected = sender.connected
                    where = {"host": self._settings.target.host, "port": self._settings.target.port}
                    if connected:
                        self._console.event("reconnected", f"Connected again to {self._place}.", **where)
                    else:
                        why = sender.lost_reason or "no reason known"
                        self._console.event(
                            "reconnecting",
                            f"Lost {self._place}: {why}; trying every second.",
                            **where,
                            reason=why,
                        )
                live.tick()
        if sources.error is not None:
            raise sources.error
        return "end of the source"

    def _read(self, sender: "Sender") -> Readout:
        stats = sender.stats()
        self._last = stats
        now_s = time.monotonic()
        before_s, before = self._marked
        self._marked = (now_s, stats.frames_sent)
        fps = (stats.frames_sent - before) / (now_s - before_s) if now_s > before_s else 0.0
        dropped = stats.frames_dropped_away + stats.frames_dropped_pacer
        if self._wall is not None:
            self._wall.update(PREVIEW, frames_per_second=fps, loss_percent=100 * stats.server_loss_share)
        rtt = "" if stats.rtt_ms is None else f"{stats.rtt_ms:.1f}"
        row = (
            stats.state,
            f"{fps:.1f}",
            f"{stats.sent_kbps:.0f}",
            str(stats.quality),
            rtt,
            f"{100 * stats.server_loss_share:.1f}",
            str(stats.frames_sent),
            str(dropped),
        )
        line = (
            f"{stats.state}: {fps:.1f} fps, {stats.sent_kbps:.0f} kbit/s, quality {stats.quality}, RTT {rtt or '-'} ms, "
            f"loss {100 * stats.server_loss_share:.1f} %"
        )
        return Readout([row], line, {"sender": asdict(stats)})

    def _summarize(self, reason: str, seconds: float) -> None:
        stats = self._last
        frames, sound = (stats.frames_sent, stats.audio_frames_sent) if stats is not None else (0, 0)
        sound_s = sound * self._settings.audio_frame_ms / 1000
        self._console.event(
            "ended",
            f"Ended ({reason}) after {seconds:.0f} s: {frames} frames and {sound_s:.0f} s of sound sent.",
            reason=reason,
            seconds=round(seconds, 1),
            frames_sent=frames,
            audio_frames_sent=sound,
        )
