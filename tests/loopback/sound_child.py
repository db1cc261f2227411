"""Opens real sound devices for test_sound_devices.py, in a process whose surroundings name a private sound server."""

import dataclasses
import json
import logging
import sys
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from udpconf.app.audio_receive import AudioReceiver
from udpconf.errors import UdpconfError
from udpconf.media.audio_devices import list_microphones, list_speakers
from udpconf.media.microphone import Microphone
from udpconf.media.opus import OpusFramer
from udpconf.media.speaker import Speaker
from udpconf.proto.audio_jitter import AudioCounts
from udpconf.proto.events import AudioReceived

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


def change(before: str, after: str, seconds: float, path: str) -> None:
    """Sound from two devices, one after the other; in between one that does not exist is refused."""
    blocks: list[NDArray[np.int16]] = []
    microphone = Microphone(before)
    microphone.start(None, lambda pcm, capture_us: blocks.append(pcm))
    say(description=microphone.description)
    time.sleep(seconds)
    try:
        microphone.use("gramophone")
    except UdpconfError as error:
        say(error=str(error), description=microphone.description)
    first = len(blocks)
    time.sleep(seconds)
    went_on = len(blocks) > first
    microphone.use(after)
    first = len(blocks)
    time.sleep(seconds)
    say(description=microphone.description, went_on=went_on, alive=microphone.alive)
    microphone.stop()
    np.savez(path, before=np.concatenate(blocks[:first])[:, 0], after=np.concatenate(blocks[first:])[:, 0])


def receive(device: str, seconds: float, *hertz: str) -> None:
    """An AudioReceiver with one client for each tone, fed as if a millisecond of network lay between."""
    speaker, receiver = Speaker(device), AudioReceiver()
    receiver.set_speaker(speaker)
    receiver.start()
    times = np.arange(round(seconds * RATE)) / RATE
    frames = {}
    begins_us = time.monotonic_ns() // 1_000
    for pitch in hertz:
        wave = (4000 * np.sin(2 * np.pi * float(pitch) * times)).astype(np.int16)
        frames[pitch] = OpusFramer().push(wave, begins_us)
        receiver.add_client(pitch)
    begins_us = time.monotonic_ns() // 1_000
    cpu = time.process_time()
    say(name=speaker.name)
    for number in range(round(seconds * 100)):
        due_us = begins_us + 14_000 + 10_000 * number
        now_us = time.monotonic_ns() // 1_000
        time.sleep(max(0, due_us - now_us) / 1_000_000)
        for pitch in hertz:
            captured_us = begins_us + 10_000 * number
            arrived_us = time.monotonic_ns() // 1_000
            data = frames[pitch][number][0]
            receiver.handle(AudioReceived(pitch, number, captured_us, data, arrived_us, copy=False))
    say(
        delay_us=receiver.audio_delay_us(hertz[0]),
        cpu_share=(time.process_time() - cpu) / seconds,
        underruns=speaker.underruns,
        dropped=speaker.dropped,
        counts=[dataclasses.asdict(receiver.counts(pitch) or AudioCounts()) for pitch in hertz],
    )
    receiver.stop()
    speaker.close()


def main() -> int:
    logging.basicConfig(level=logging.WARNING)
    verb, *rest = sys.argv[1:]
    try:
        match verb:
            case "devices":
                devices()
            case "play":
                play(rest[0], float(rest[1]), float(rest[2]), float(rest[3]))
            case "receive":
                receive(rest[0], float(rest[1]), *rest[2:])
            case "change":
                change(rest[0], rest[1], float(rest[2]), rest[3])
            case "record":
                record(rest[0], float(rest[1]), rest[2])
    except UdpconfError as error:
        say(error=str(error), code=error.exit_code)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
