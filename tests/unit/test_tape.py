"""The tape: what is taken is what came, in order, whoever wrote it, and stays as it was."""

import ctypes
import random

import numpy as np
import pytest
from numpy.typing import NDArray

from udpconf.media.tape import ROOM, Tape

Pcm = NDArray[np.int16]
KEPT = 720


def counted(first: int, samples: int, channels: int) -> Pcm:
    """int16[samples, channels] of which no two near each other are alike."""
    numbers = np.arange(first * channels, (first + samples) * channels)
    return (numbers % 30_011).astype(np.int16).reshape(samples, channels)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_taken_is_what_came_and_never_changes(channels: int, seed: int) -> None:
    rng = random.Random(seed)
    tape, came, taken, pieces = Tape(KEPT, channels), 0, 0, []
    while taken < 5 * ROOM:
        samples = rng.choice([1, 119, 240, 480, 960])
        pcm = counted(came, samples, channels)
        if rng.random() < 0.5:
            tape.append(pcm)
        else:
            ctypes.memmove(tape.address_for(samples), pcm.ctypes.data, pcm.nbytes)
            tape.wrote(samples)
        came += samples
        wanted = rng.randint(0, tape.waiting)
        pieces.append(tape.take(wanted))
        taken += wanted
        assert tape.waiting == came - taken
        before = np.concatenate((np.zeros((KEPT, channels), np.int16), counted(0, came, channels)))
        assert np.array_equal(tape.at_hand, before[taken:])
    assert np.array_equal(np.concatenate(pieces), counted(0, taken, channels))


def test_what_was_not_written_after_all_does_not_wait() -> None:
    tape = Tape(KEPT, 1)
    tape.address_for(480)
    assert tape.waiting == 0
    tape.append(counted(0, 480, 1))
    assert np.array_equal(tape.take(480), counted(0, 480, 1))


@pytest.mark.parametrize("samples", [0, 100, 3 * ROOM])
def test_what_waits_can_be_replaced_and_what_was_taken_cannot(samples: int) -> None:
    tape = Tape(KEPT, 1)
    tape.append(counted(0, 1_000, 1))
    taken = tape.take(400)
    tape.replace(counted(5_000, samples, 1))
    assert tape.waiting == samples
    assert np.array_equal(tape.take(samples), counted(5_000, samples, 1))
    assert np.array_equal(taken, counted(0, 400, 1))
