"""The header that a receiver writes is the one that OpenCV wrote, byte for byte."""

import cv2
import numpy as np
import pytest

from tests.scenes import film
from udpconf.frames import MCU_SIZE, Codec, FrameDescription, Subsampling
from udpconf.media.jpeg_header import flat_interval, jpeg_header

FACTORS = {
    Subsampling.S420: cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    Subsampling.S422: cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    Subsampling.S444: cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
}


def encode(description: FrameDescription, blank: bool = True) -> bytes:
    _, width, height, quality, subsampling, restart_interval, _ = description
    image = np.full((height, width, 3), 128, np.uint8) if blank else film(width, height)
    parameters = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_RST_INTERVAL, restart_interval]
    if subsampling == Subsampling.GREY:
        image = image[:, :, 0]
    else:
        parameters += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, FACTORS[subsampling]]
    return cv2.imencode(".jpg", image, parameters)[1].tobytes()


@pytest.mark.parametrize("subsampling", list(Subsampling))
def test_the_header_is_equal_at_every_quality(subsampling: Subsampling) -> None:
    for quality in range(1, 101):
        description = FrameDescription(Codec.JPEG, 48, 32, quality, subsampling, 3)
        header = jpeg_header(description)
        assert encode(description).startswith(header), quality


@pytest.mark.parametrize("subsampling", list(Subsampling))
def test_the_header_is_equal_at_odd_sizes_and_all_kinds_of_restart_intervals(
    subsampling: Subsampling,
) -> None:
    sizes = [(1, 1), (7, 9), (16, 16), (17, 15), (160, 120), (321, 241), (640, 360), (257, 513), (1280, 720)]
    for width, height in sizes:
        for restart_interval in (1, 2, 7, 40, 255, 256, 480):
            description = FrameDescription(Codec.JPEG, width, height, 61, subsampling, restart_interval)
            assert encode(description).startswith(jpeg_header(description)), description


def test_the_header_is_equal_at_the_largest_size() -> None:
    description = FrameDescription(Codec.JPEG, 3840, 2160, 33, Subsampling.S420, 240)
    assert encode(description).startswith(jpeg_header(description))


def test_the_scan_begins_right_after_the_header() -> None:
    for subsampling in Subsampling:
        description = FrameDescription(Codec.JPEG, 64, 64, 50, subsampling, 4)
        header = jpeg_header(description)
        # SOS: marker, length, components, two bytes each, three bytes of spectral selection.
        components = 1 if subsampling == Subsampling.GREY else 3
        assert header[-(8 + 2 * components) :][:2] == b"\xff\xda"
        assert encode(description, blank=False)[len(header) - 3 : len(header)] == b"\x00\x3f\x00"


@pytest.mark.parametrize("subsampling", list(Subsampling))
def test_a_flat_interval_is_what_the_encoder_makes_of_grey(subsampling: Subsampling) -> None:
    mcu_width, mcu_height = MCU_SIZE[subsampling]
    for units in range(1, 41):
        description = FrameDescription(Codec.JPEG, mcu_width * units, mcu_height, 50, subsampling, units)
        scan = encode(description)[len(jpeg_header(description)) : -2]
        assert scan == flat_interval(units, subsampling), units
