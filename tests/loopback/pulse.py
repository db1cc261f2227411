"""A sound server of our own with two loudspeakers that nobody hears: ``mic``, whose monitor is a microphone, and ``spk``.

PortAudio reads its surroundings once, when it is initialised, so whatever opens devices runs in a child process with
``Pulse.environment``.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.loopback.waiting import wait_until

Pcm = NDArray[np.int16]

ROOT = Path(__file__).resolve().parents[2]
RATE = 48_000
PROGRAMS = ("pulseaudio", "pactl", "parec", "pacat")
# The devices have names, so that choosing by name is tested as well.
ASOUNDRC = """
pcm.!default { type pulse }
ctl.!default { type pulse }
pcm.mic_monitor { type pulse device "mic.monitor" }
pcm.mic { type pulse device "mic" }
pcm.spk_monitor { type pulse device "spk.monitor" }
pcm.spk { type pulse device "spk" }
"""


class Pulse:
    """Attributes: ``environment`` (os.environ that points there), ``process``."""

    def __init__(self, directory: Path) -> None:
        missing = [program for program in PROGRAMS if shutil.which(program) is None]
        assert not missing, (
            f"{', '.join(missing)} not found; these tests need a sound server: "
            "apt-get install pulseaudio pulseaudio-utils libasound2-plugins (tools/test does)"
        )
        self._directory = directory
        (directory / ".asoundrc").write_text(ASOUNDRC)
        self._socket = directory / "native"
        self.environment = {
            **os.environ,
            "HOME": str(directory),
            "XDG_RUNTIME_DIR": str(directory),
            "XDG_CONFIG_HOME": str(directory),
            "PULSE_SERVER": f"unix:{self._socket}",
            "PULSE_COOKIE": str(directory / "cookie"),
            "PYTHONPATH": str(ROOT),
            "JACK_NO_START_SERVER": "1",
        }
        for name in ("PULSE_SINK", "PULSE_SOURCE", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY"):
            self.environment.pop(name, None)
        self.process: subprocess.Popen[bytes] | None = None
        self._company: list[subprocess.Popen[bytes]] = []
        self.start()

    def start(self) -> None:
        self._socket.unlink(missing_ok=True)
        sinks = [f"module-null-sink sink_name={name} rate={RATE}" for name in ("mic", "spk")]
        modules = [f"module-native-protocol-unix auth-anonymous=1 socket={self._socket}", *sinks]
        loads = [word for module in modules for word in ("-L", module)]
        with (self._directory / "pulseaudio.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", *loads],
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        server = self.process
        wait_until(
            lambda: server.poll() is not None or b"spk" in self._run("pactl", "list", "short", "sinks"),
            "pulseaudio has no sinks",
        )
        said = (self._directory / "pulseaudio.log").read_text()
        assert server.poll() is None, f"pulseaudio did not start: {said}"
        # A null sink renders two seconds ahead unless somebody wants it sooner, and would take nothing from a new
        # stream until those are over.
        quick = ["--playback", "--latency-msec=10", "--raw", "/dev/zero"]
        self._company = [
            subprocess.Popen(["pacat", "-d", name, *quick], env=self.environment, stderr=subprocess.DEVNULL)
            for name in ("mic", "spk")
        ]
        self._run("pactl", "set-default-sink", "spk")
        self._run("pactl", "set-default-source", "mic.monitor")

    def stop(self) -> None:
        for process in self._company:
            process.kill()
            process.wait(10)
        self._company = []
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(10)
            self.process = None

    def play(self, pcm: Pcm, sink: str) -> subprocess.Popen[bytes]:
        """Start to play int16[n] into a sink; end it with ``kill`` and ``wait``."""
        path = self._directory / "play.raw"
        path.write_bytes(pcm.tobytes())
        return subprocess.Popen(
            [
                "pacat",
                "--playback",
                "-d",
                sink,
                f"--rate={RATE}",
                "--channels=1",
                "--format=s16le",
                str(path),
            ],
            env=self.environment,
        )

    def record(self, source: str, seconds: float) -> Pcm:
        """int16[n] that a source gave in this time."""
        process = subprocess.Popen(
            [
                "parec",
                "-d",
                source,
                f"--rate={RATE}",
                "--channels=1",
                "--format=s16le",
                "--latency-msec=20",
            ],
            env=self.environment,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        data = process.stdout.read(round(seconds * RATE) * 2)
        process.kill()
        process.stdout.close()
        process.wait(10)
        return np.frombuffer(data, np.int16)

    def child(self, *arguments: str) -> subprocess.Popen[str]:
        """Run tests/loopback/sound_child.py, which opens devices."""
        return subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("sound_child.py")), *arguments],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _run(self, *command: str) -> bytes:
        return subprocess.run(
            command, env=self.environment, capture_output=True, timeout=20, check=False
        ).stdout


@contextmanager
def running_pulse() -> Iterator[Pulse]:
    with tempfile.TemporaryDirectory(prefix="udpconf-pulse-") as directory:
        pulse = Pulse(Path(directory))
        try:
            yield pulse
        finally:
            pulse.stop()


def tone(seconds: float, hertz: float, amplitude: float) -> Pcm:
    """int16[n] mono at 48 kHz."""
    times = np.arange(round(seconds * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * hertz * times)).astype(np.int16)


def loudest(pcm: Pcm) -> tuple[float, float]:
    """Frequency in hertz and amplitude of the strongest tone in int16[n]."""
    window = np.hanning(len(pcm))
    spectrum = np.abs(np.fft.rfft(pcm * window))
    peak = int(np.argmax(spectrum))
    return peak * RATE / len(pcm), float(2 * spectrum[peak] / window.sum())


def amplitude_at(pcm: Pcm, hertz: float) -> float:
    """Amplitude of the tone of this frequency in int16[n]."""
    window = np.hanning(len(pcm))
    turning = np.exp(-2j * np.pi * hertz * np.arange(len(pcm)) / RATE)
    return float(2 * np.abs(np.sum(pcm * window * turning)) / window.sum())
