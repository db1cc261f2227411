"""A frame's number must survive codecs, scaling and holes, or be known to be unreadable; never be another number."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tools.lab import barcode
from udpconf.media.native import cv2


def picture(number: int, *, width: int = 640, height: int = 360, seed: int = 1) -> NDArray[np.uint8]:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    barcode.draw(image, barcode.row(number, width))
    return image


def read(image: NDArray[np.uint8]) -> int | None:
    return barcode.decode(barcode.sample(image))


@pytest.mark.parametrize("number", [0, 1, 45, 2**20 - 1])
def test_a_number_is_read_back(number: int) -> None:
    assert read(picture(number)) == number


@pytest.mark.parametrize("quality", [5, 20, 90])
def test_a_number_survives_jpeg_at_any_quality(quality: int) -> None:
    jpeg = cv2.imencode(".jpg", picture(777), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    assert read(np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)) == 777


@pytest.mark.parametrize("size", [(160, 90), (213, 120), (1000, 333), (1280, 720)])
def test_a_number_survives_scaling(size: tuple[int, int]) -> None:
    assert read(np.asarray(cv2.resize(picture(4711), size), np.uint8)) == 4711


def test_a_grey_picture_is_read_as_well() -> None:
    assert read(np.asarray(cv2.cvtColor(picture(99), cv2.COLOR_BGR2GRAY), np.uint8)) == 99


@pytest.mark.parametrize("lost", [slice(0, 100), slice(260, 360)])
def test_one_strip_is_enough(lost: slice) -> None:
    image = picture(12)
    image[lost] = 128
    assert read(image) == 12


@pytest.mark.parametrize("borrowed", [slice(0, 180), slice(180, 360)])
def test_a_half_borrowed_from_the_picture_before_does_not_make_the_frame_old(borrowed: slice) -> None:
    image = picture(12)
    image[borrowed] = picture(11)[borrowed]
    assert read(image) == 12


def test_a_picture_without_strips_has_no_number() -> None:
    for seed in range(50):
        noise = np.random.default_rng(seed).integers(0, 256, (360, 640, 3), np.uint8)
        assert read(noise) is None
    assert read(np.zeros((360, 640, 3), np.uint8)) is None


def test_mixtures_of_two_numbers_are_hardly_ever_taken_for_a_third() -> None:
    wrong = 0
    for number in range(1, 401):
        image = picture(number)
        image[:, :320] = picture(number - 1)[:, :320]
        wrong += read(image) not in (None, number, number - 1)
    assert wrong <= 2


def test_a_number_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        barcode.row(2**20, 640)


def test_the_content_is_the_picture_without_its_strips() -> None:
    assert barcode.content(picture(1)).shape == (328, 640, 3)
