"""``udpconf doctor``: does this machine have what udpconf needs, and if not, which command mends it."""

import importlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer

from udpconf import __version__, config
from udpconf.cli.console import Console, counted
from udpconf.cli.devices import cameras, sound_devices
from udpconf.cli.options import AudioPorts, JsonLines, Port, Quiet, Verbose, Version, flag
from udpconf.errors import PIP, MissingDependencyError, PortInUseError, UdpconfError
from udpconf.limits import RECORDER_RESERVE_BYTES

OPENCV_PACKAGES = (
    "opencv-python",
    "opencv-contrib-python",
    "opencv-python-headless",
    "opencv-contrib-python-headless",
)
# A window that Qt cannot open takes its process along (SIGABRT), so a child tries it. In a quiet system it takes 1 s.
WINDOW_PROBE_S = 20.0
WINDOW_PROBE = """
import numpy
from udpconf.media.native import cv2
cv2.imshow("udpconf doctor", numpy.zeros((8, 8, 3), numpy.uint8))
cv2.waitKey(1)
"""
MIB = 1 << 20


class Check(NamedTuple):
    """One finding.

    Attributes:
        id: a short word that stays the same from release to release.
        verdict: ``ok``, ``warn`` (something is missing, the rest works) or ``fail`` (it will not work).
        found: what is the case.
        fix: what to do about it; empty when there is nothing to do.
    """

    id: str
    verdict: Literal["ok", "warn", "fail"]
    found: str
    fix: str = ""


def doctor(
    context: typer.Context,
    port: Port = config.DEFAULT_PORT,
    audio_ports: AudioPorts = config.DEFAULT_AUDIO_PORTS,
    record: Annotated[
        Path,
        flag(
            "--record", help="Directory whose disk is looked at, as for serve --record.", show_default=False
        ),
    ] = Path(),
    json_lines: JsonLines = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    version: Version = False,
) -> None:
    """Check this machine and say what mends it.

    Looks at Python, OpenCV, display, cameras, sound, UDP buffers, ports and disk. Ends with 1 if there is a fault.
    """
    console: Console = context.obj
    console.configure(json_lines=json_lines, quiet=quiet, verbose=verbose)
    verdicts = []
    for check in checks(port, audio_ports, record):
        verdicts.append(check.verdict)
        if console.json_lines:
            console.line({"event": "check", **check._asdict()})
        else:
            console.result(f"{check.verdict:<5} {check.id:<10} {check.found}")
            if check.fix:
                console.result(f"{'':<16} -> {check.fix}")
    faults, warnings = verdicts.count("fail"), verdicts.count("warn")
    if console.json_lines:
        console.line({"event": "doctor", "faults": faults, "warnings": warnings})
    else:
        console.result(
            f"{counted(faults, 'fault')}, {counted(warnings, 'warning')}"
            if faults or warnings
            else "everything is in order"
        )
    raise typer.Exit(1 if faults else 0)


def checks(port: int, audio_ports: config.PortRange, directory: Path) -> Iterator[Check]:
    """Every check in the order of the report. None raises: what goes wrong inside one is its finding."""
    yield _python()
    opencv = _opencv()
    yield opencv
    yield _libraries()
    if opencv.verdict != "fail":
        yield _guarded(_display)
    yield _guarded(_cameras)
    yield _guarded(_audio)
    yield _guarded(_voice)
    yield _guarded(_buffers)
    yield _guarded(lambda: _ports(port, audio_ports))
    yield _firewall(port, audio_ports)
    yield _guarded(lambda: _disk(directory))


def _guarded(check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:  # noqa: BLE001  (a doctor does not die of what the patient has)
        name = getattr(check, "__name__", "check").strip("_")
        return Check(
            name, "fail", f"the check itself failed: {type(error).__name__}: {error}", "run again with -vv"
        )


def _python() -> Check:
    found = (
        f"udpconf {__version__}, {platform.python_implementation()} {platform.python_version()}, "
        f"{platform.system()} {platform.release()}, {platform.machine()}"
    )
    if platform.system() != "Linux":
        return Check("python", "warn", found, "udpconf was tried on Linux only; the rest may work")
    return Check("python", "ok", found)


def _opencv() -> Check:
    installed = {name: version for name in OPENCV_PACKAGES if (version := _version_of(name))}
    found = ", ".join(f"{name} {version}" for name, version in installed.items()) or "no OpenCV package"
    if len(installed) > 1:
        # They all write into the same folder cv2; the last one installed wins, until one is removed and breaks both.
        return Check(
            "opencv",
            "fail",
            f"{found}: these overwrite each other",
            f"{PIP} uninstall -y {' '.join(installed)} && {PIP} install opencv-python",
        )
    try:
        importlib.import_module("udpconf.media.native")
    except ImportError as error:
        fix = (
            "sudo apt-get install libgl1 libglib2.0-0"
            if ".so" in str(error)
            else f"{PIP} install --upgrade opencv-python av"
        )
        return Check("opencv", "fail", f"{found} does not load: {error}", fix)
    if any("headless" in name for name in installed):
        return Check(
            "opencv",
            "warn",
            f"{found}: it cannot open a window; everything else works",
            f"for a window: {PIP} uninstall -y {' '.join(installed)} && {PIP} install opencv-python",
        )
    return Check("opencv", "ok", found)


def _libraries() -> Check:
    names = ("av", "numpy", "simplejpeg", "lz4", "cryptography", "mss", "samplerate")
    versions = {name: _version_of(name) for name in names}
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        return Check(
            "libraries", "fail", f"not installed: {', '.join(missing)}", f"{PIP} install {' '.join(missing)}"
        )
    coder = (
        f"zfec {_version_of('zfec')}"
        if _version_of("zfec")
        else "no zfec: erasure code in numpy, about twice as slow"
    )
    return Check(
        "libraries", "ok", ", ".join(f"{name} {version}" for name, version in versions.items()) + f", {coder}"
    )


def _version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _display() -> Check:
    from udpconf.media.display import display_available

    available, why_not = display_available()
    if not available:
        return Check("display", "warn", f"no window, everything else works: {why_not}")
    try:
        probe = subprocess.run(
            [sys.executable, "-c", WINDOW_PROBE], capture_output=True, timeout=WINDOW_PROBE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Check(
            "display", "warn", f"a window did not open within {WINDOW_PROBE_S:.0f} s, so there is none"
        )
    if probe.returncode:
        return Check(
            "display",
            "warn",
            "a window does not open, so there is none; everything else works",
            "check that DISPLAY is yours, and: sudo apt-get install libgl1 libsm6 libice6 libxext6",
        )
    return Check("display", "ok", "a window opens")


def _cameras() -> Check:
    listing = cameras()
    if not listing.devices:
        return Check(
            "cameras", "warn", listing.note, "plug one in; --file, --screen and --test-pattern need none"
        )
    denied = [device.detail for device in listing.devices if "permission" in device.detail]
    if denied:
        return Check("cameras", "warn", "; ".join(denied), "sudo usermod -aG video $USER, then log in again")
    return Check("cameras", "ok", ", ".join(f"{device.index} {device.name}" for device in listing.devices))


def _audio() -> Check:
    from udpconf.media.audio_devices import install_command, load_pyaudio

    try:
        load_pyaudio()
    except MissingDependencyError:
        return Check(
            "audio",
            "warn",
            "no PyAudio: no live microphone and speaker; everything else works",
            install_command(),
        )
    listing = sound_devices()
    found = ", ".join(
        f"{device.kind} {device.index} {device.name}" for device in listing.devices if device.default
    )
    if listing.note:
        return Check(
            "audio", "warn", f"{listing.note} {found}".strip(), "plug one in, or start the sound server"
        )
    return Check("audio", "ok", found)


def _voice() -> Check:
    from udpconf.media.voice import INSTALL_COMMAND, load_livekit

    try:
        load_livekit()
    except MissingDependencyError:
        return Check(
            "voice", "ok", "no livekit: `send --voice` is not available", f"if wanted: {INSTALL_COMMAND}"
        )
    return Check("voice", "ok", f"livekit {_version_of('livekit')}, for `send --voice`")


def _buffers() -> Check:
    from udpconf.net.udp_socket import BUFFER_BYTES, UdpSocket

    socket = UdpSocket.listen("127.0.0.1", 0)
    try:
        granted = min(socket.receive_buffer_bytes, socket.send_buffer_bytes)
    finally:
        socket.close()
    found = f"asked for {BUFFER_BYTES // 1024} KiB, the kernel grants {granted // 1024} KiB"
    if granted < BUFFER_BYTES:
        return Check(
            "buffers",
            "warn",
            f"{found}: a burst of large frames may overflow it",
            f"sudo sysctl -w net.core.rmem_max={BUFFER_BYTES} net.core.wmem_max={BUFFER_BYTES}",
        )
    return Check("buffers", "ok", found)


def _ports(port: int, audio_ports: config.PortRange) -> Check:
    from udpconf.net.udp_socket import UdpSocket

    def is_free(number: int) -> bool:
        try:
            UdpSocket.listen("0.0.0.0", number).close()
        except PortInUseError:
            return False
        return True

    low, high = audio_ports
    try:
        taken = [number for number in range(low, high + 1) if not is_free(number)]
        if not is_free(port):
            return Check(
                "ports",
                "fail",
                f"UDP port {port} is in use by another program",
                "stop it, or serve with another --port",
            )
    except UdpconfError as error:
        return Check("ports", "fail", str(error), "choose ports above 1023")
    if taken:
        return Check(
            "ports",
            "warn",
            f"UDP port {port} is free; of the audio ports {low}-{high}, {len(taken)} are taken",
            "nothing to do while some are free: without one, sound rides on the main port",
        )
    return Check("ports", "ok", f"UDP port {port} and the audio ports {low}-{high} are free")


def _firewall(port: int, audio_ports: config.PortRange) -> Check:
    low, high = audio_ports
    fix = f"sudo ufw allow {port}/udp && sudo ufw allow {low}:{high}/udp"
    found = f"a server needs UDP {port} and {low}-{high} open to its senders (only {port} with --mux-audio)"
    return Check("firewall", "ok", found, f"if a firewall is on: {fix}")


def _disk(directory: Path) -> Check:
    existing = next(
        folder for folder in (directory.absolute(), *directory.absolute().parents) if folder.exists()
    )
    free = shutil.disk_usage(existing).free
    found = f"{free // MIB} MiB free at {existing}"
    if not os.access(existing, os.W_OK):
        return Check(
            "disk", "fail", f"{existing} is not writable", "record into a directory of your own: --record DIR"
        )
    if free <= RECORDER_RESERVE_BYTES:
        return Check(
            "disk",
            "fail",
            f"{found}; recording stops at {RECORDER_RESERVE_BYTES // MIB} MiB",
            "free some space, or record to another disk",
        )
    return Check("disk", "ok", found)
