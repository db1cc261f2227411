"""Opens real sound devices for test_sound_devices.py, in a process whose surroundings name a private sound server."""

import json
import logging
import sys
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from udpconf.errors import UdpconfError
from udpconf.media.audio_devices import list_microphones, list_speakers
from udpconf.media.microphone import Microphone
from udpconf.media.speaker import Speaker

RATE = 48_000
BLOCK = 480


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def devices() -> None:
    say(
        microphones=[device.name for device in list_microphones()],
        speakers=[device.name for device in list_speakers()],
    )


def play(device: str, hertz: float, amplitude: float, seconds: float) -> None:
    """A tone, 10 ms at a time, with 20 to 30 ms in the ring."""
    speaker = Speaker(device)
    taken = threading.Event()
    speaker.on_taken = taken.set
    position = 0
    ends = time.monotonic() + seconds
    say(latency_us=speaker.latency_us, name=speaker.name)
    while time.monotonic() < ends:
        taken.wait(0.02)
        taken.clear()
        while speaker.queued_us < 20_000:
            times = (position + np.arange(BLOCK)) / RATE
            speaker.write((amplitude * np.sin(2 * np.pi * hertz * times)).astype(np.int16))
            position += BLOCK
    say(
        underruns=speaker.underruns,
        dropped=speaker.dropped,
        latency_us=speaker.latency_us,
        alive=speaker.alive,
        played=position,
    )
    speaker.close()


def record(device: str, seconds: float, path: str) -> None:
    """Sound into a .npz: pcm, and for each block how old it was when it came, and its capture time."""
    blocks: list[NDArray[np.int16]] = []
    ages: list[int] = []
    times: list[int] = []

    def on_sound(pcm: NDArray[np.int16], capture_us: int) -> None:
        blocks.append(pcm)
        times.append(capture_us)
        ages.append(time.monotonic_ns() // 1_000 - capture_us)

    microphone = Microphone(device)
    microphone.start(None, on_sound)
    say(started=True, description=microphone.description)
    time.sleep(seconds)
    say(alive=microphone.alive, dropped=microphone.dropped)
    microphone.stop()
    np.savez(path, pcm=np.concatenate(blocks)[:, 0], ages=np.array(ages), times=np.array(times))


def main() -> int:
    logging.basicConfig(level=logging.WARNING)
    verb, *rest = sys.argv[1:]
    try:
        match verb:
            case "devices":
                devices()
            case "play":
                play(rest[0], float(rest[1]), float(rest[2]), float(rest[3]))
            case "record":
                record(rest[0], float(rest[1]), rest[2])
    except UdpconfError as error:
        say(error=str(error), code=error.exit_code)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
