"""What voice processing does to speech: noise, echo, loudness and processor time. Needs espeak-ng.

.venv/bin/python tools/voice.py
"""

import io
import subprocess
import time
import wave

import numpy as np
import samplerate
from numpy.typing import NDArray

from udpconf.media.voice import DELAY_US, Voice

Samples = NDArray[np.float64]

RATE = 48_000
LAG = DELAY_US * RATE // 1_000_000 + 1
TEXT = (
    "The quick brown fox jumps over the lazy dog. She sells sea shells by the sea shore. A large size in stockings is "
    "hard to sell. The boy was there when the sun rose. A rod is used to catch pink salmon. Kick the ball straight and "
    "follow through. Help the woman get back to her feet. A pot of tea helps to pass the evening."
)


def speech(voice: str, dbfs: float, seconds: float) -> Samples:
    """espeak-ng's, of that loudness while it speaks, again and again."""
    said = subprocess.run(
        ["espeak-ng", "-v", voice, "--stdout", TEXT], capture_output=True, check=True
    ).stdout
    with wave.open(io.BytesIO(said)) as file:
        # The header on a pipe does not know the length.
        pcm = np.frombuffer(file.readframes(1 << 28), np.int16).astype(np.float32)
        ratio = RATE / file.getframerate()
    loud = np.asarray(samplerate.resample(pcm, ratio, "sinc_best"), np.float64)
    loud *= 32768 * 10 ** (dbfs / 20) / np.sqrt(np.mean(loud[np.abs(loud) > 100] ** 2))
    return np.resize(loud, round(seconds * RATE))


def through(near: Samples, far: Samples | None = None) -> Samples:
    voice, heard = Voice(), []
    pcm = np.clip(near, -32768, 32767).astype(np.int16)
    played = None if far is None else far.astype(np.int16)
    for start in range(0, len(pcm) - 479, 480):
        if played is not None:
            voice.played(played[start : start + 480])
        heard.append(voice.process(pcm[start : start + 480], 0)[0])
    return np.concatenate(heard).astype(np.float64)


def decibels(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(samples**2) + 1e-9))


def around(samples: Samples, seconds: float) -> Samples:
    """Mean magnitude in a window around each sample."""
    width = round(seconds * RATE)
    return np.convolve(np.abs(samples), np.ones(width) / width, "same")


def main() -> None:
    random = np.random.default_rng(1)
    voice = speech("en-gb", -26, 40)
    talks, pauses = around(voice, 0.05) > 150, around(voice, 0.1) < 2
    pauses[: 4 * RATE] = talks[: 4 * RATE] = False  # until it knows the noise
    babble = np.sum([speech(f"en-us+{who}", -26, 40) for who in ("m3", "f2", "f3", "m5")], axis=0)
    for name, kind in (("white", random.normal(size=len(voice))), ("babble", babble)):
        for ratio_db in (20, 10, 5):
            noise = kind / np.std(kind) * np.sqrt(np.mean(voice[talks] ** 2)) / 10 ** (ratio_db / 20)
            heard = np.roll(through(voice + noise), -LAG)
            kept = [np.resize(mask, len(heard)) for mask in (talks, pauses)]
            was, now = (
                decibels(sound[: len(heard)][kept[0]]) - decibels(sound[: len(heard)][kept[1]])
                for sound in (voice + noise, heard)
            )
            print(f"{name:6} {ratio_db:2} dB below: speech above pauses {was:.1f} -> {now:.1f} dB")
    for dbfs in (-46, -36, -26, -16):
        heard = through(speech("en-gb", dbfs, 40))
        gain = decibels(heard[30 * RATE :]) - decibels(speech("en-gb", dbfs, 40)[30 * RATE :])
        print(f"loudness {dbfs} dBFS -> {dbfs + gain:.0f} dBFS")
    far = speech("en-us+f3", -20, 30)
    for delay_ms in (20, 60, 120, 250):
        room = random.normal(size=4800) * np.exp(-np.arange(4800) / 600) * 0.1
        room[0] = 1
        echo = np.concatenate((np.zeros(delay_ms * 48), np.convolve(far, room) * 10**-0.5))[: len(far)]
        heard = through(echo, far)
        by_second = [
            decibels(echo[at : at + RATE]) - decibels(heard[at : at + RATE])
            for at in range(0, 6 * RATE, RATE)
        ]
        print(
            f"echo after {delay_ms} ms, seconds 1 to 6: " + ", ".join(f"{less:.0f}" for less in by_second),
            "dB less",
        )
    for name, other in (("alone", None), ("with a loudspeaker", far)):
        began = time.process_time()
        through(voice[: len(far)], other)
        took_us = (time.process_time() - began) * 1e6 / (len(far) / 480)
        print(f"{name}: {took_us:.0f} us of processor time per 10 ms")


if __name__ == "__main__":
    main()
