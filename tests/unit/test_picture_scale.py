"""Pictures shrink when the lowest quality does not fit, and grow when it would again."""

import numpy as np

from udpconf.frames import SCALES
from udpconf.limits import SECOND
from udpconf.media.picture import Picture
from udpconf.media.picture_scale import GROW_AFTER_US, PictureScale

IMAGE: Picture = np.zeros((360, 640, 3), np.uint8)
EXPONENT = 0.55


def test_a_picture_that_fits_stays_itself() -> None:
    scale = PictureScale()
    assert scale.choose(IMAGE, 1.1, EXPONENT, 0) == 1
    assert scale.shrink(IMAGE) is IMAGE


def test_it_shrinks_in_one_step_as_far_as_needed() -> None:
    for coarseness, width in [(1.3, 480), (3.0, 320), (7.0, 320), (30.0, 160)]:
        scale = PictureScale()
        assert scale.choose(IMAGE, coarseness, EXPONENT, 0) > 1  # more to tell in a pixel
        assert scale.shrink(IMAGE).shape == (width * 9 // 16, width, 3)


def test_it_grows_a_step_at_a_time_when_it_would_fit() -> None:
    scale = PictureScale()
    scale.choose(IMAGE, 3.0, EXPONENT, 0)
    assert scale.choose(IMAGE, 0.3, EXPONENT, SECOND // 2) == 1
    assert scale.choose(IMAGE, 0.3, EXPONENT, SECOND) < 1
    assert scale.scale == 0.75
    assert scale.choose(IMAGE, 0.9, EXPONENT, 3 * SECOND) == 1  # at the next it would not fit


def test_where_it_plainly_shrank_too_far_it_grows_at_once() -> None:
    scale = PictureScale()
    scale.choose(IMAGE, 1000, EXPONENT, 0)
    for step in range(len(SCALES) - 1):
        scale.choose(IMAGE, 0.01, EXPONENT, step + 1)
    assert scale.scale == 1


def test_what_grew_in_vain_waits_longer_each_time() -> None:
    scale = PictureScale()
    scale.choose(IMAGE, 1.3, EXPONENT, 0)
    grew = []
    for now_us in range(0, 60 * SECOND, SECOND // 30):
        before = scale.step
        scale.choose(IMAGE, 0.3 if scale.step else 1.3, EXPONENT, now_us)
        if scale.step < before:
            grew.append(now_us)
    shortest, longest = GROW_AFTER_US
    waits = np.diff(grew)
    assert all(waits[1:] >= waits[:-1])
    assert waits[0] < 3 * shortest
    assert longest - SECOND < waits[-1] < longest + SECOND


def test_nobody_is_made_too_small_to_be_recognised() -> None:
    for width, height in [(640, 360), (320, 240), (200, 100), (64, 48)]:
        scale = PictureScale()
        image: Picture = np.zeros((height, width), np.uint8)
        scale.choose(image, 1e9, EXPONENT, 0)
        assert min(scale.shrink(image).shape) >= min(90, height)
