"""What came of a demo: the figures of each sender, the picture of the window, and the lines that say it."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from udpconf.cli.console import Console, counted
from udpconf.cli.totals import SessionTotals
from udpconf.errors import UdpconfError

if TYPE_CHECKING:
    from udpconf.app.sender import Sender
    from udpconf.app.values import Frame
    from udpconf.cli.sources import Sources
    from udpconf.emulation.scenario import Scenario

PICTURE_SIZE = (1280, 720)


@dataclass
class Participant:
    """One sender, and what the viewer saw of it."""

    name: str
    sender: "Sender"
    sources: "Sources"
    delays_ms: list[float] = field(default_factory=list)  # capture to decoded picture
    last_frame: "Frame | None" = None
    received: SessionTotals = field(default_factory=SessionTotals)
    figures: dict[str, Any] = field(default_factory=dict)

    def collect(self, audio_frames_concealed: int) -> None:
        """Take the figures.

        Args:
            audio_frames_concealed: until the sources were stopped.

        Raises:
            UdpconfError: there are none, as nothing arrived.
        """
        received, sent = self.received, self.sender.stats()
        if received.last is None or not self.delays_ms:
            raise UdpconfError(f"Nothing of {self.name} arrived. `udpconf doctor` says what may be wrong.")
        # quantiles() wants two values; a single frame has one delay, and that is all its quantiles.
        delays = statistics.quantiles(self.delays_ms * 2, n=100, method="inclusive")
        packets = received["packets_received"] + received["packets_lost"]
        self.figures = {
            "name": self.name,
            "source": self.sources.description,
            "frames_captured": sent.frames_sent
            + sent.frames_dropped_away
            + sent.frames_dropped_pacer
            + sent.frames_skipped_ceiling,
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
            "audio_frames_received": received["audio_frames_received"] - received["audio_frames_duplicate"],
            "audio_frames_from_copies": received["audio_frames_from_copies"],
            "audio_frames_concealed": audio_frames_concealed,
            "times_lost": received.times_lost,
        }


def tile_fields(frame: "Frame") -> dict[str, Any]:
    """What the window says about a picture."""
    host, port = frame.client.address
    return {
        "name": frame.client.name,
        "address": f"{host}:{port}",
        "capture_wall_us": int(frame.capture_time * 1_000_000),
    }


def draw(participants: Iterable[Participant], seconds: float, directory: Path) -> Path:
    """The last frame of each, as the window shows them, in a file of the directory."""
    from udpconf.cli.wall import write_png
    from udpconf.media.grid import Tile, compose

    tiles = [
        Tile(
            **tile_fields(frame),
            image=frame.image,
            frames_per_second=participant.figures["frames_sent"] / seconds,
            loss_percent=100 * participant.figures["loss_share"],
            recording=True,
        )
        for participant in participants
        if (frame := participant.last_frame) is not None
    ]
    return write_png(directory / "grid.png", compose(tiles, *PICTURE_SIZE))


def report(
    console: Console,
    scenario: "Scenario | None",
    seed: str,
    figures: Sequence[dict[str, Any]],
    recordings: Sequence[Path],
    picture: Path,
) -> None:
    """Say it: an object with --json, else some lines a sender. Without a scenario there was no bad network."""
    if console.json_lines:
        console.line(
            {
                "event": "demo",
                "scenario": None if scenario is None else scenario.name,
                "seed": None if scenario is None else seed,
                "senders": figures,
                "recordings": [str(path) for path in recordings],
                "picture": str(picture),
            }
        )
        return
    say = console.result
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
    for path in recordings:
        say(f"recording  {path}   play it with: ffplay {path}")
    say(f"picture    {picture}")
