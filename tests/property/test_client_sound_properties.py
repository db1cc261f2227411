"""Whatever a path does to a client's frames, and whenever somebody plays: 5 ms of sound or none come out, and nothing is raised."""

import random
from functools import cache

import numpy as np
import pytest

from udpconf.app.client_sound import PLAY_SAMPLES, ClientSound
from udpconf.frames import OPUS_FRAME_US
from udpconf.limits import MS, SECOND
from udpconf.media.opus import FRAME_SAMPLES, OpusEncoder, OpusFramer
from udpconf.proto.audio_target import PLAY_US

SECONDS = 6
PATH_US = 30 * MS


@cache
def frames(channels: int, frame_us: int) -> list[tuple[bytes, int]]:
    hertz = np.linspace(200, 3_000, SECONDS * FRAME_SAMPLES * 100)
    noise = np.random.default_rng(1).normal(0, 60, len(hertz))
    wave = np.rint(8_000 * np.sin(2 * np.pi * np.cumsum(hertz) / 48_000) + noise).astype(np.int16)
    pcm = wave if channels == 1 else np.stack((wave, wave[::-1]), axis=1)
    return OpusFramer(OpusEncoder(64_000, channels, frame_us=frame_us)).push(pcm, 0)


@pytest.mark.parametrize("seed", range(24))
def test_on_any_path_sound_comes_out(seed: int) -> None:
    """Of each ten runs two are stereo, four have frames of 5 or 20 ms; half of all players stand still now and then."""
    source = random.Random(seed)
    channels, frame_us = source.choice((1, 1, 1, 1, 2)), source.choice((1, 2, 2, 2, 4)) * OPUS_FRAME_US // 2
    jitter_us, loss = source.choice((0, 5, 30, 60)) * MS, source.choice((0, 0.02, 0.2))
    stands_still = source.random() < 0.5
    arrivals, held_until_us = list[tuple[int, int, int, bytes]](), 0
    for number, (data, capture_us) in enumerate(frames(channels, frame_us)):
        if source.random() < loss:
            continue
        arrival_us = capture_us + PATH_US + source.randint(0, jitter_us)
        if source.random() < 0.01:
            held_until_us = arrival_us + source.choice((20, 50, 120, 300)) * MS
        arrivals.append((max(arrival_us, held_until_us), number, capture_us, data))
    arrivals.sort(reverse=True)
    sound, now_us, played = ClientSound(0), 0, 0
    while now_us < SECONDS * SECOND:
        now_us += PLAY_US
        if stands_still and source.random() < 0.002:
            now_us += source.choice((20, 60, 150, 190, 210, 400)) * MS
        while arrivals and arrivals[-1][0] <= now_us:
            arrival_us, number, capture_us, data = arrivals.pop()
            sound.buffer.push(number, capture_us, data, arrival_us)
        block = sound.play(now_us, 0, audible=True)
        if block is not None:
            played += 1
            assert block.shape == (PLAY_SAMPLES, channels)
            assert 0 < now_us - sound.capture_us < SECOND
    assert played > 0.7 * SECONDS * SECOND / PLAY_US or stands_still
    counts = sound.buffer.counts
    ends = counts.played + counts.skipped + counts.duplicate + counts.late + counts.dropped
    assert counts.pushed == ends + len(sound.buffer._waiting)
