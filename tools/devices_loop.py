"""Sound through real devices (PyAudio on a PulseAudio of our own, tests/loopback/pulse.py), and what udpconf adds.

    .venv/bin/python tools/devices_loop.py                             # mouth to ear, beside the direct loop
    .venv/bin/python tools/devices_loop.py --clock-ppm 200 --minutes 10

The first plays a chirp a second into a null sink A whose monitor is the microphone of `udpconf send`; `udpconf serve` plays into
a null sink B. Both monitors are recorded by one process with the same PortAudio settings, so A's is the direct loop, and what
lies between the two is udpconf and the devices it opened.

The second has a microphone whose clock is off: a block of 480 samples every 10 ms by that clock, with its time by the computer's.
Pictures go along, 30 a second. What counts is whether the loudspeaker ever runs dry, how far the delay strays after the first
minute, and how far sound and pictures are apart.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from numpy.typing import NDArray

import udpconf
from tests.loopback.program import Program
from tests.loopback.pulse import Pulse, running_pulse
from tools.lab import chirp
from tools.lab.devices import now_us
from udpconf.limits import MS, SECOND
from udpconf.media.audio_stream import BUFFER_FRAMES, SAMPLE_RATE, AudioStream
from udpconf.media.microphone import CaptureClock

Pcm = NDArray[np.int16]

BUFFER_US = BUFFER_FRAMES * SECOND // SAMPLE_RATE
PASSPHRASE = "a key for the lab only"
FPS = 30
# Until the delay has settled and the clocks' difference is known (proto/drift.py learns in half a minute).
WARM_UP_S = 60
LOOK_S = 0.5


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=30, help="of chirps, one a second (default 30)")
    parser.add_argument("--clock-ppm", type=float, help="the microphone's clock is so much too fast")
    parser.add_argument("--minutes", type=float, default=10.0, help="with that clock (default 10)")
    parser.add_argument("--role", choices=["record", "serve", "send"], help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)  # of the recording
    parser.add_argument("--url", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    match arguments.role:
        case "record":
            play_and_record(arguments.seconds, Path(arguments.file))
        case "serve":
            serve(arguments.minutes)
        case "send":
            send_by_skewed_clock(arguments.url, arguments.clock_ppm)
        case _ if arguments.clock_ppm is None:
            with running_pulse() as pulse:
                measure_delay(pulse, arguments.seconds)
        case _:
            with running_pulse() as pulse:
                measure_clocks(pulse, arguments.clock_ppm, arguments.minutes)
    return 0


# --- mouth to ear --------------------------------------------------------------------------------------------------------


def measure_delay(pulse: Pulse, seconds: int) -> None:
    home = Path(pulse.environment["HOME"])
    with (home / ".asoundrc").open("a") as settings:
        settings.write('pcm.spk_monitor { type pulse device "spk.monitor" }\n')
    here = ("--open", "--json")
    with Program(
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--speaker",
        "spk",
        *here,
        environment=pulse.environment,
    ) as server:
        url = server.event("listening")["url"]
        with Program(
            "send", url, "--no-video", "--mic", "mic_monitor", *here, environment=pulse.environment
        ) as sender:
            sender.event("connected")
            server.event("joined")
            recorded = home / "recorded.npz"
            ours = [sys.executable, __file__, "--role", "record", "--seconds", str(seconds)]
            subprocess.run([*ours, "--file", str(recorded)], env=pulse.environment, check=True)
            sender.end(signal.SIGINT)
        server.end(signal.SIGTERM)
    with np.load(recorded) as file:
        mouth_us = int(file["mouth_us"])
        direct, through = (
            {
                heard.number: heard.ear_us - heard.mouth_us
                for heard in chirp.heard(file[name], file[f"{name}_us"], mouth_us, seconds)
                # Streams that begin, and the buffer's first second, are not what people talk through.
                if heard.ear_us is not None and heard.number >= 5
            }
            for name in ("mic_monitor", "spk_monitor")
        )
    added = [through[number] - direct[number] for number in through.keys() & direct.keys()]
    for name, delays in (("direct loop", list(direct.values())), ("with udpconf", list(through.values()))):
        print(f"{name}: {_quantiles(delays)}")
    print(f"udpconf and its devices: {_quantiles(added)}, {len(added)} of {seconds - 5} chirps heard in both")


def _quantiles(delays_us: list[int]) -> str:
    if not delays_us:
        return "nothing was heard"
    p50, p95 = np.percentile(delays_us, (50, 95)) / MS
    return f"p50 {p50:.1f}, p95 {p95:.1f}, max {max(delays_us) / MS:.1f} ms"


class Tape:
    """Records one device: what came, and when it was handed over, as Mouth notes when it hands over."""

    def __init__(self, device: str) -> None:
        self.blocks: list[Pcm] = []
        self.times_us: list[int] = []
        self._clock = CaptureClock()
        self.stream = AudioStream("Input", device, 1, self._take)

    def _take(
        self, data: bytes | None, frames: int, channels: int, time_info: Mapping[str, float]
    ) -> bytes | None:
        assert data is not None
        self.times_us.append(self._clock.stamp(now_us(), BUFFER_US))
        self.blocks.append(np.frombuffer(data, np.int16).reshape(frames, channels)[:, 0])
        return None


class Mouth:
    """Plays the chirps: the first sample of a buffer is spoken when the device asks for it."""

    def __init__(self, device: str) -> None:
        self._sound = chirp.two_seconds()
        self._position = 0
        self.begun_us = 0
        self.stream = AudioStream("Output", device, 1, self._give)

    def _give(
        self, data: bytes | None, frames: int, channels: int, time_info: Mapping[str, float]
    ) -> bytes | None:
        if not self.begun_us:
            self.begun_us = now_us()
        places = (self._position + np.arange(frames)) % len(self._sound)
        self._position += frames
        return np.repeat(self._sound[places], channels).tobytes()


def play_and_record(seconds: int, path: Path) -> None:
    tapes = {name: Tape(name) for name in ("mic_monitor", "spk_monitor")}
    time.sleep(2)
    mouth = Mouth("mic")
    time.sleep(seconds + 2)
    found: dict[str, Any] = {}
    for name, tape in tapes.items():
        count = min(len(tape.blocks), len(tape.times_us))
        found[name] = np.concatenate(tape.blocks[:count])
        found[f"{name}_us"] = np.array(tape.times_us[:count], np.int64)
    np.savez(path, mouth_us=mouth.begun_us, **found)
    os._exit(0)  # closing PortAudio's streams takes seconds


# --- clocks that differ ------------------------------------------------------------------------------------------------------


def measure_clocks(pulse: Pulse, ppm: float, minutes: float) -> None:
    ours = [sys.executable, __file__, "--clock-ppm", str(ppm), "--minutes", str(minutes)]
    server = subprocess.Popen(
        [*ours, "--role", "serve"], env=pulse.environment, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    sender = subprocess.Popen([*ours, "--role", "send", "--url", server.stdout.readline().strip()])
    try:
        lines = [json.loads(line) for line in server.stdout]
    finally:
        for process in (sender, server):
            process.kill()
            process.wait()
    looks, end = [line for line in lines if "delay_ms" in line], lines[-1]
    settled = [look for look in looks if look["s"] >= WARM_UP_S]
    if not settled:
        sys.exit("devices_loop: nothing was heard after the first minute.")
    delays = [look["delay_ms"] for look in settled]
    skews = [abs(look["skew_ms"]) for look in settled if look["skew_ms"] is not None]
    print(
        f"{ppm:+.0f} ppm, {minutes:g} minutes: {end['underruns']} underruns, {end['concealed']} frames concealed"
    )
    low, middle, high = np.percentile(delays, (5, 50, 95))
    print(
        f"  delay p50 {middle:.1f}, p5 to p95 {low:.1f} to {high:.1f}, all {min(delays):.1f} to {max(delays):.1f} ms"
    )
    print(f"  sound and picture apart: p50 {np.median(skews):.1f}, p95 {np.percentile(skews, 95):.1f} ms")


def serve(minutes: float) -> None:
    with udpconf.Server("127.0.0.1", port=0, passphrase=PASSPHRASE) as server:
        server.start_speaker("spk")
        print(server.url, flush=True)
        threading.Thread(target=lambda: [None for _ in server.frames()], daemon=True).start()
        next(iter(server.events()))
        begun = time.monotonic()
        underruns_before = concealed_before = None
        while (elapsed := time.monotonic() - begun) < minutes * 60:
            time.sleep(LOOK_S)
            speaker = server._speaker  # noqa: SLF001 - its underruns are in no statistics
            for stats in server.stats().values():
                if speaker is None or stats.audio_delay_ms is None:
                    continue
                # The first seconds: devices open, buffers fill.
                if underruns_before is None or concealed_before is None or elapsed < 10:
                    underruns_before, concealed_before = speaker.underruns, stats.audio_frames_concealed
                underruns = speaker.underruns - underruns_before
                concealed = stats.audio_frames_concealed - concealed_before
                look = {
                    "s": elapsed,
                    "delay_ms": stats.audio_delay_ms,
                    "skew_ms": stats.sound_after_picture_ms,
                }
                print(json.dumps({**look, "underruns": underruns, "concealed": concealed}), flush=True)
    os._exit(0)


def send_by_skewed_clock(url: str, ppm: float) -> None:
    sender = udpconf.Sender(url, passphrase=PASSPHRASE, name="skewed")
    sound = chirp.two_seconds()
    start_us = now_us()

    def film() -> None:
        picture = np.zeros((180, 320, 3), np.uint8)
        number = 0
        while True:
            capture_us = start_us + number * SECOND // FPS
            time.sleep(max(0, capture_us - now_us()) / SECOND)
            picture[:, number % 320] = number % 256
            sender.send_video(picture, capture_us)
            number += 1

    threading.Thread(target=film, daemon=True).start()
    block = 0
    while True:
        first_us = start_us + round(block * BUFFER_US / (1 + ppm / 1e6))
        time.sleep(max(0, first_us + BUFFER_US - now_us()) / SECOND)
        place = block * BUFFER_FRAMES % len(sound)
        sender.send_audio(sound[place : place + BUFFER_FRAMES], first_us)
        block += 1


if __name__ == "__main__":
    sys.exit(main())
