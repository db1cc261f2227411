"""The lab's camera never waits for anybody, and its screen can be switched off at any time."""

from pathlib import Path

import numpy as np
import pytest

from tools.lab import barcode, devices
from tools.lab.devices import Camera, Ended, Screen
from tools.lab.plan import FPS, Plan

SIZE = (90, 160, 3)


def plan(folder: Path) -> Plan:
    pictures = folder / "pictures.npy"
    np.save(pictures, np.zeros((7, *SIZE), np.uint8))
    return Plan("tcp", str(pictures), str(folder), 2.0, 50, 8000, None, sound=False, sample_every=1)


class Clock:
    """Virtual time in the place of the devices' clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.us = 1_000_000
        monkeypatch.setattr(devices, "now_us", lambda: self.us)
        monkeypatch.setattr("time.sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.us += round(seconds * 1e6)


def test_who_is_blocked_gets_the_newest_picture_then_and_misses_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    camera = Camera(plan(tmp_path))
    camera.begin()
    numbers = []
    for capture_us, image in camera:
        number = barcode.decode(barcode.sample(image))
        assert number is not None
        assert capture_us == camera.start_us + number * 1_000_000 // FPS
        assert 0 <= clock.us - capture_us < 1_000_000 // FPS
        numbers.append(number)
        clock.sleep(1.01 if number == 20 else 0.001)
    assert numbers == [*range(21), *range(50, 105)]
    assert [number for number, _, _ in camera.taken] == numbers


def test_an_end_in_the_middle_of_a_picture_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Screen(plan(tmp_path))
    screen.show(np.zeros(SIZE, np.uint8), True, 1.0, 1000)

    def interrupted() -> int:
        raise Ended

    monkeypatch.setattr(devices, "cpu_us", interrupted)
    with pytest.raises(Ended):
        screen.show(np.zeros(SIZE, np.uint8), True, 1.0, 1000)
    screen.save({})
    with np.load(tmp_path / "receive.npz") as saved:
        assert len(saved["strips"]) == len(saved["shown_us"]) == 1
