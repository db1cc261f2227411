"""480 samples are 10 ms of the computer's clock, however the sound card counts, and nobody hears it."""

import random
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from udpconf.limits import MS, SECOND
from udpconf.media import steady_rate
from udpconf.media.opus import OpusFramer
from udpconf.media.opus_decoder import OpusDecoder
from udpconf.media.steady_rate import SteadyRate
from udpconf.proto.drift import DriftControl

Pcm = NDArray[np.int16]
RATE = 48_000
HOUR_S = 3_600


class Counting:
    """Stands for Resampler, an hour of which takes half a minute: as many samples, all of them 0."""

    def __init__(self, channels: int) -> None:
        self.wanted = self.ratio = 1.0
        self._owed = 0.0

    def resample(self, block: Pcm) -> Pcm:
        self.ratio = self.wanted
        self._owed += len(block) * self.ratio
        samples = int(self._owed)
        self._owed -= samples
        return np.zeros((samples, 1), np.int16)


def stamped(seconds: float, ppm: float, jitter_us: int, length: int, seed: int = 1) -> list[int]:
    """Capture times of blocks of a card that runs so much too fast, each off by up to ``jitter_us``."""
    random_source = random.Random(seed)
    return [
        round(index * length * SECOND / RATE / (1 + ppm / 1e6)) + random_source.randint(-jitter_us, jitter_us)
        for index in range(round(seconds * RATE / length))
    ]


def tone(hertz: float, samples: int) -> Pcm:
    wave: Pcm = np.rint(8_000 * np.sin(2 * np.pi * hertz * np.arange(samples) / RATE)).astype(np.int16)
    return wave[:, np.newaxis]


@pytest.mark.parametrize("ppm", [-200, 200])
def test_after_an_hour_count_and_clock_agree(ppm: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steady_rate, "Resampler", Counting)
    steady = SteadyRate(DriftControl(), 1)
    block, samples, astray_us = np.zeros((4_800, 1), np.int16), 0, []
    for capture_us in stamped(HOUR_S, ppm, 0, len(block)):
        astray_us.append(samples * SECOND / RATE - capture_us)
        samples += len(steady.follow(block, capture_us))
    assert max(map(abs, astray_us)) < 3 * MS, "5 ms are allowed"
    assert max(map(abs, astray_us[len(astray_us) // 10 :])) < 1 * MS, "once the difference is known"


def test_callbacks_that_wobble_leave_every_sample_as_it_was() -> None:
    seed = 7
    steady = SteadyRate(DriftControl(), 1)
    block = np.random.default_rng(seed).integers(-9_000, 9_000, (480, 1)).astype(np.int16)
    for capture_us in stamped(600, 0, 4 * MS, len(block), seed):
        assert steady.follow(block, capture_us) is block, f"seed {seed}"


def test_a_wobble_does_not_move_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steady_rate, "Resampler", Counting)
    seed = 8
    steady = SteadyRate(DriftControl(), 1)
    block, samples, astray_us = np.zeros((480, 1), np.int16), 0, []
    for index, capture_us in enumerate(stamped(400, 200, 4 * MS, len(block), seed)):
        astray_us.append(samples * SECOND / RATE - index * 10 * MS / 1.0002)
        samples += len(steady.follow(block, capture_us))
    late = astray_us[30_000:]
    assert max(late) - min(late) < 1 * MS, f"seed {seed}"


@pytest.mark.parametrize("ppm", [-200, 200])
@pytest.mark.parametrize("length", [160, 480, 4_800])
def test_the_pitch_stays_and_no_sample_jumps(ppm: int, length: int) -> None:
    steady = SteadyRate(DriftControl(), 1)
    times = stamped(60, ppm, 2 * MS, length)
    # A second holds a whole number of periods, so each second may be the same.
    sent = tone(1_000, 60 * RATE)
    heard = np.concatenate(
        [
            steady.follow(sent[index * length : (index + 1) * length], capture_us)
            for index, capture_us in enumerate(times)
        ]
    )[:, 0]
    assert len(heard) != len(sent), "it was resampled"
    steps = np.abs(np.diff(heard.astype(float), 2))
    assert steps.max() < 1.05 * np.abs(np.diff(sent[:RATE, 0].astype(float), 2)).max() + 4, "no click"
    # Zero crossings upwards, between samples: the period by the second.
    rising = np.flatnonzero((heard[:-1] < 0) & (heard[1:] >= 0))
    crossings = rising + heard[rising] / (heard[rising] - heard[rising + 1].astype(float))
    periods = np.array([after - before for before, after in pairwise(crossings[::1_000])]) / 1_000
    assert np.abs(periods / 48 - 1).max() < 0.0005


def test_missing_sound_is_not_taken_for_a_slow_card() -> None:
    framer = OpusFramer(rate_control=DriftControl())
    block, last_us = np.zeros(480, np.int16), 0
    for index in range(3_000):
        gap_us = index // 500 * 300 * MS  # 300 ms are lost every 5 s
        frames = framer.push(block, index * 10 * MS + gap_us)
        assert len(frames) == 1, "no sample was made up or left out"
        last_us = frames[0][1]
    assert framer.jumps == 5
    assert last_us > 0


def test_frames_of_a_wrong_card_are_10_ms_apart_and_as_many_as_there_was_time() -> None:
    framer, decoder = OpusFramer(rate_control=DriftControl()), OpusDecoder()
    times = stamped(120, 200, 0, 480)
    sent = tone(1_000, RATE)
    frames = [
        frame
        for index, capture_us in enumerate(times)
        for frame in framer.push(sent[index % 100 * 480 : index % 100 * 480 + 480], capture_us)
    ]
    assert framer.jumps == 0
    late = frames[len(frames) // 2 :]
    spans_us = [after - before for (_, before), (_, after) in pairwise(late)]
    assert np.mean(spans_us) == pytest.approx(10 * MS, abs=1)
    assert abs(len(frames) * 10 * MS - times[-1]) < 3 * MS + 10 * MS, "and what waits for its frame"
    heard = np.concatenate([decoder.decode(data) for data, _ in frames])
    assert np.abs(np.diff(heard[RATE:].astype(float), 2)).max() < 400
