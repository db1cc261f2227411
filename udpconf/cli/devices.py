"""``udpconf devices``: the cameras, microphones, speakers and screens of this machine, by what to write after a flag."""

import fcntl
import math
import os
import struct
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from udpconf.cli.console import Console
from udpconf.cli.options import JsonLines, Quiet, Verbose, Version, flag
from udpconf.errors import ConfigError, DeviceError, MissingDependencyError

# <linux/videodev2.h>: _IOR('V', 0, struct v4l2_capability), its size, where device_caps stands in it, and the bit that
# means that pictures come out. A webcam has a second node beside it for metadata only.
VIDIOC_QUERYCAP = 0x80685600
CAPABILITY_BYTES = 104
DEVICE_CAPS_OFFSET = 88
VIDEO_CAPTURE = 0x1 | 0x1000  # one plane, or several


@dataclass(frozen=True)
class Device:
    """One device.

    Attributes:
        kind: ``camera``, ``microphone``, ``speaker`` or ``screen``.
        index: the number to write after ``--camera``, ``--mic`` or ``--speaker``; a screen's only counts.
        name: what it calls itself.
        detail: size, channels, or what is wrong with it.
        default: it is taken when none is named.
    """

    kind: str
    index: int
    name: str
    detail: str
    default: bool


class Listing(NamedTuple):
    """The devices of some kinds, and one line about what could not be looked for."""

    devices: list[Device]
    note: str = ""


FLAGS = {"camera": "--camera", "microphone": "--mic", "speaker": "--speaker", "screen": "--screen"}


def devices(
    context: typer.Context,
    test: Annotated[
        bool, flag("--test", help="Record a second from the microphone and play it on the speaker.")
    ] = False,
    mic: Annotated[
        str | None,
        flag("--mic", metavar="NAME|INDEX", show_default="the system's", help="The microphone to test."),
    ] = None,
    speaker: Annotated[
        str | None,
        flag("--speaker", metavar="NAME|INDEX", show_default="the system's", help="The speaker to test."),
    ] = None,
    json_lines: JsonLines = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    version: Version = False,
) -> None:
    """List cameras, microphones, speakers and screens.

    Each line begins with the flag that takes the device; no other screen than the first can be taken.
    """
    console: Console = context.obj
    console.configure(json_lines=json_lines, quiet=quiet, verbose=verbose)
    if not test and (mic is not None or speaker is not None):
        raise ConfigError("--mic and --speaker choose what --test tests; say --test as well.")
    if test:
        _test(console, mic, speaker)
        return
    listings = (cameras(), sound_devices(), screens())
    found = [device for listing in listings for device in listing.devices]
    for listing in listings:
        if listing.note:
            console.say(listing.note)
    for device in found:
        if console.json_lines:
            console.line({"event": "device", **asdict(device)})
        else:
            mark = " (default)" if device.default else ""
            # --screen takes no number, and the first screen.
            number = "" if device.kind == "screen" else device.index
            flag = "" if device.kind == "screen" and not device.default else FLAGS[device.kind]
            console.result(f"{flag:<9} {number:<3} {device.name}{mark}  {device.detail}".rstrip())
    if not found and not console.json_lines:
        console.result("no devices; `udpconf send --test-pattern` and `--file` need none")


def _test(console: Console, mic: str | None, speaker: str | None) -> None:
    from udpconf.cli.device_test import SILENT_DBFS, run_test

    console.say("Recording a second, then playing it.")
    tested = run_test(mic, speaker)
    if console.json_lines:
        peak_dbfs = round(tested.peak_dbfs, 1) if math.isfinite(tested.peak_dbfs) else None
        console.line({"event": "device_test", **tested._asdict(), "peak_dbfs": peak_dbfs})
        return
    console.result(f"{tested.microphone}: {tested.peak_dbfs:.0f} dBFS at the loudest")
    if tested.peak_dbfs < SILENT_DBFS:
        console.result("  That is silence: is it muted, or not plugged in?")
    console.result(f"{tested.speaker}: played, {tested.speaker_latency_ms:.0f} ms after it took the sound")


def cameras() -> Listing:
    """The video capture devices that V4L2 knows. Opens none for pictures, so one that is busy is listed all the same."""
    if not sys.platform.startswith("linux"):
        return Listing([], "Cameras are listed on Linux only; try --camera 0.")
    found: list[Device] = []
    for node in sorted(Path("/dev").glob("video[0-9]*"), key=lambda path: int(path.name[5:])):
        index = int(node.name[5:])
        label = Path(f"/sys/class/video4linux/{node.name}/name")
        name = label.read_text(errors="replace").strip() if label.exists() else node.name
        try:
            if not _delivers_pictures(node):
                continue
            detail = str(node)
        except PermissionError:
            detail = f"{node}: no permission; run: sudo usermod -aG video $USER, then log in again"
        except OSError as error:
            detail = f"{node}: {error.strerror}"
        found.append(Device("camera", index, name, detail, default=not found))
    return Listing(found, "" if found else "No camera was found.")


def _delivers_pictures(node: Path) -> bool:
    descriptor = os.open(node, os.O_RDONLY | os.O_NONBLOCK)
    try:
        answer = fcntl.ioctl(descriptor, VIDIOC_QUERYCAP, bytes(CAPABILITY_BYTES))
    finally:
        os.close(descriptor)
    (capabilities,) = struct.unpack_from("=I", answer, DEVICE_CAPS_OFFSET)
    return bool(capabilities & VIDEO_CAPTURE)


def sound_devices() -> Listing:
    """Microphones and speakers as PortAudio lists them."""
    from udpconf.media.audio_devices import list_microphones, list_speakers

    try:
        by_kind = {"microphone": list_microphones(), "speaker": list_speakers()}
    except MissingDependencyError as error:
        return Listing([], str(error))
    found = [
        Device(
            kind,
            device.index,
            device.name,
            f"{device.channels} channels, {device.default_rate_hz / 1000:g} kHz, {device.latency_us / 1000:.0f} ms",
            device.is_default,
        )
        for kind, listed in by_kind.items()
        for device in listed
    ]
    missing = [kind for kind, listed in by_kind.items() if not listed]
    return Listing(
        found, f"No {' and no '.join(missing)} was found; is the sound server running?" if missing else ""
    )


def screens() -> Listing:
    """The monitors that can be copied; ``--screen`` takes the first."""
    from udpconf.media.sources.screen import list_screens

    try:
        found = list_screens()
    except DeviceError as error:
        return Listing([], str(error))
    return Listing(
        [
            Device(
                "screen",
                screen.number,
                "screen",
                f"{screen.width}x{screen.height}",
                default=screen.number == 0,
            )
            for screen in found
        ]
    )
