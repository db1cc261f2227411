"""Speech to send, made when it is needed: sentences by espeak-ng (apt-get install espeak-ng), in several voices.

A speech synthesiser says the same again whenever it is asked, belongs to nobody, and is understood as far as the sound
that reaches the ear allows; what is measured is the difference to what was sent.
"""

import subprocess
import tempfile
import wave
from pathlib import Path
from typing import NamedTuple

import numpy as np
import samplerate
from numpy.typing import NDArray

Pcm = NDArray[np.int16]

RATE = 48_000
VOICES = ("en-us", "en-gb+f2", "en-us+m3", "en-gb+f4")
# Each some 7 s long: what PESQ (ITU-T P.862) likes to judge, two sentences with a pause.
UTTERANCES = (
    "The train to the coast leaves at twenty past nine. Please keep a seat for my brother.",
    "She opened the letter and put it back on the table. Nobody asked her what it said.",
    "Fresh snow had covered the path by morning. We followed the fence down to the river.",
    "The meeting has moved to the third floor. Bring the figures for March and for April.",
    "A small boat drifted past the old lighthouse. Its engine had stopped an hour before.",
    "He mixed the paint with a long wooden spoon. The wall took three coats of it in the end.",
    "Thieves had broken the lock of the cellar. They took a bicycle and six jars of plums.",
    "Can you hear me better with the other microphone? I will call you back in five minutes.",
)
PAUSE_S = 0.5
# Of full scale: loud speech, as a microphone with automatic gain gives it.
PEAK = 0.5


class Speech(NamedTuple):
    """What is said."""

    pcm: Pcm  # int16[n] at 48 kHz
    utterances: list[tuple[int, int]]  # first sample and end of each


def speech() -> Speech:
    """Every utterance, one voice after the other; the first comes twice, the first time to warm up and not to be judged.

    Raises FileNotFoundError where there is no espeak-ng.
    """
    pause = np.zeros(round(PAUSE_S * RATE), np.int16)
    parts, utterances, length = [pause], [], len(pause)
    for number, text in enumerate((UTTERANCES[0], *UTTERANCES)):
        said = _say(text, VOICES[number % len(VOICES)])
        if number:
            utterances.append((length, length + len(said)))
        parts += [said, pause]
        length += len(said) + len(pause)
    return Speech(np.concatenate(parts), utterances)


def _say(text: str, voice: str) -> Pcm:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        subprocess.run(["espeak-ng", "-v", voice, "-s", "150", "-w", str(path), text], check=True)
        with wave.open(str(path)) as said:
            rate = said.getframerate()
            samples = np.frombuffer(said.readframes(said.getnframes()), np.int16).astype(np.float32)
    resampled = samplerate.resample(samples, RATE / rate, "sinc_best")
    scaled: Pcm = np.rint(resampled * (PEAK * 32_767 / np.abs(resampled).max())).astype(np.int16)
    return scaled
