"""The test pattern's threads keep to their schedule, whoever is slow."""

import itertools
import threading

import numpy as np

from tests.loopback.collector import Collector
from udpconf.errors import LocalProtocolError
from udpconf.media.sources.pattern import PatternSource, read_frame_number, tone


def test_frame_n_is_taken_n_intervals_after_the_start_without_drift() -> None:
    source = PatternSource(160, fps=50)
    with Collector(source) as taken:
        taken.wait_for_pictures(30)
    numbers = [read_frame_number(image) for image, _ in taken.pictures]
    first_us = taken.pictures[0][1]
    assert numbers[0] == 0
    for number, (_, capture_us) in zip(numbers, taken.pictures, strict=True):
        assert number is not None
        assert capture_us == first_us + number * 20_000
    assert numbers == sorted(set(numbers))  # type: ignore[type-var]
    assert source.ended.is_set()
    assert source.error is None


def test_pictures_and_tone_begin_together_and_the_tone_has_no_seam() -> None:
    with Collector(PatternSource(160, tone_hz=997)) as taken:
        taken.wait(lambda: len(taken.pieces) >= 15 and len(taken.pictures) >= 3)
    assert taken.pieces[0][1] == taken.pictures[0][1]
    pcm = taken.pcm
    assert pcm.shape[1] == 1
    assert (pcm == tone(997, 0, len(pcm))).all()


def test_stereo_on_request_and_silence_on_request() -> None:
    with Collector(PatternSource(160, stereo=True)) as taken:
        taken.wait(lambda: bool(taken.pieces))
    assert taken.pieces[0][0].shape == (960, 2)
    silent = PatternSource(160, tone_hz=None)
    assert not silent.has_sound
    with Collector(silent) as taken:
        taken.wait_for_pictures(3)
    assert not taken.pieces


def test_who_takes_pictures_slowly_gets_fewer_and_all_of_the_sound() -> None:
    source = PatternSource(160, fps=100)
    taken = Collector(source)
    numbers: list[int | None] = []

    def slowly(image: np.ndarray, capture_us: int) -> None:
        numbers.append(read_frame_number(image))
        threading.Event().wait(0.1)

    source.start(slowly, taken.on_sound)
    taken.wait(lambda: len(taken.pieces) >= 25 and len(numbers) >= 4)
    source.stop()
    assert source.pictures_skipped > 0
    assert all(b - a > 2 for a, b in itertools.pairwise(numbers))  # type: ignore[operator]
    assert (taken.pcm == tone(440, 0, len(taken.pcm))).all()


def test_an_error_of_the_taker_ends_the_source_and_is_kept() -> None:
    source = PatternSource(160)

    def refuse(image: np.ndarray, capture_us: int) -> None:
        raise LocalProtocolError("This sender is closed.")

    source.start(refuse, None)
    assert source.ended.wait(10)
    assert str(source.error) == "This sender is closed."
    source.stop()


def test_stop_may_be_repeated_and_ends_the_threads() -> None:
    source = PatternSource(160)
    with Collector(source) as taken:
        taken.wait_for_pictures(1)
    source.stop()
    count = len(taken.pictures)
    assert not [thread for thread in threading.enumerate() if "source test pattern" in thread.name]
    assert len(taken.pictures) == count
