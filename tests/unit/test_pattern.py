"""The pattern tells its number after codecs and scaling, and its tone fits together to the sample."""

from datetime import UTC, datetime

import cv2
import numpy as np
import pytest

from tests.scenes import film, noise
from udpconf.errors import ConfigError
from udpconf.media.sources.pattern import (
    MIN_HEIGHT,
    MIN_WIDTH,
    PatternPainter,
    PatternSource,
    read_frame_number,
    tone,
)
from udpconf.media.sources.source import fitted, fitted_size

CLOCK = datetime(2026, 11, 22, 10, 33, 21, 123_000, tzinfo=UTC)
NUMBERS = (0, 1, 2, 29, 255, 256, 65_535, 7_777_777, (1 << 24) - 1)


def test_the_number_can_be_read_after_jpeg_at_any_quality() -> None:
    for width, height in ((640, 360), (160, 90), (320, 240), (1280, 720), (1001, 701)):
        painter = PatternPainter(width, height)
        for number in NUMBERS:
            image = painter.paint(number, CLOCK)
            assert image.shape == (height, width, 3)
            for quality in (1, 5, 20, 90):
                jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
                assert read_frame_number(np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)) == number


def test_the_number_can_be_read_in_other_sizes_and_in_grey() -> None:
    painter = PatternPainter(640, 360)
    for number in NUMBERS:
        image = painter.paint(number, CLOCK)
        for width, height in ((320, 180), (160, 90), (200, 200), (641, 359), (1920, 1080)):
            small = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
            assert read_frame_number(small) == number
            assert read_frame_number(np.ascontiguousarray(small[:, :, 1])) == number


def test_numbers_wrap_after_24_bits() -> None:
    assert read_frame_number(PatternPainter(320, 180).paint((1 << 24) + 5, CLOCK)) == 5


def test_a_picture_without_the_pattern_has_no_number() -> None:
    for image in (
        film(640, 360),
        noise(320, 240),
        np.zeros((90, 160, 3), np.uint8),
        np.full((1, 1), 255, np.uint8),
    ):
        assert read_frame_number(image) is None


def test_a_damaged_number_is_not_read_as_another() -> None:
    painter = PatternPainter(640, 360)
    misread = 0
    for number in range(200):
        image = painter.paint(number, CLOCK)
        other = painter.paint(number * 7919 + 13, CLOCK)
        half = image.copy()
        half[:, 320:] = other[:, 320:]  # as when a hole shows an older frame
        misread += read_frame_number(half) not in (None, number, number * 7919 + 13)
    assert misread <= 4


def test_each_picture_is_the_callers_own_and_differs_from_the_last() -> None:
    painter = PatternPainter(320, 180)
    first = painter.paint(3, CLOCK)
    kept = first.copy()
    first[:] = 0
    assert (painter.paint(3, CLOCK) == kept).all()
    assert (painter.paint(4, CLOCK) != kept).any()


def test_pieces_of_the_tone_fit_together_to_the_sample() -> None:
    for frequency in (440, 997.3, 50):
        whole = tone(frequency, 0, 48_000)
        pieces = np.concatenate([tone(frequency, first, 960) for first in range(0, 48_000, 960)])
        assert (pieces == whole).all()


def test_the_tone_has_its_frequency_and_level() -> None:
    wave = tone(440, 5_000_000_000, 48_000)[:, 0].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(wave)) / 24_000
    assert int(np.argmax(spectrum)) == 440
    assert 20 * np.log10(spectrum[440] / 32767) == pytest.approx(-20, abs=0.01)
    assert np.sum(spectrum[:430]) + np.sum(spectrum[450:]) < 20


def test_the_tone_is_the_same_on_both_channels() -> None:
    stereo = tone(440, 100, 960, channels=2)
    assert stereo.shape == (960, 2)
    assert stereo.dtype == np.int16
    assert (stereo[:, 0] == stereo[:, 1]).all()


def test_an_impossible_pattern_is_refused_with_a_sentence() -> None:
    PatternSource(MIN_WIDTH, MIN_HEIGHT)
    PatternSource(3840, 2160)
    for arguments in (
        {"width": MIN_WIDTH - 1},
        {"width": 3842, "height": 2160},
        {"width": 640, "height": MIN_HEIGHT - 1},
        {"width": 640, "height": 2161},
        {"fps": 0},
        {"fps": -1},
        {"tone_hz": 0},
        {"tone_hz": 24_000},
    ):
        with pytest.raises(ConfigError):
            PatternSource(**arguments)  # type: ignore[arg-type]


def test_a_picture_is_made_smaller_in_even_numbers_and_never_larger() -> None:
    assert fitted_size(1280, 720, 640) == (640, 360)
    assert fitted_size(1280, 720, 641) == (640, 360)
    assert fitted_size(640, 360, 640) == (640, 360)
    assert fitted_size(320, 181, 640) == (320, 181)
    assert fitted_size(1920, 1080, None) == (1920, 1080)
    assert fitted_size(1920, 1080, 100) == (100, 56)
    assert fitted_size(3000, 10, 100) == (100, 2)
    assert fitted_size(1000, 1000, 1) == (2, 2)
    image = film(1280, 720)
    assert fitted(image, None) is image
    assert fitted(image, 320).shape == (180, 320, 3)
