"""A client's decoder, shared by all who watch it: each frame decoded once, each watcher with a picture of its own."""

import numpy as np

from tests.scenes import IntervalEncoder
from udpconf.app.decoding import StreamDecoder
from udpconf.frames import ReceivedFrame


def received(frame_id: int, *, holes: bool = False) -> ReceivedFrame:
    image = np.full((64, 16, 3), 40 * frame_id, np.uint8)
    encoded = IntervalEncoder().encode(image, 90, 0, 1100)
    if holes:
        encoded = encoded._replace(segments=encoded.segments[:2])
    return ReceivedFrame(frame_id, encoded, 0, 0, 0)


def test_a_frame_is_decoded_once_and_each_watcher_may_draw_on_its_own() -> None:
    decoder = StreamDecoder()
    first = decoder.decode(received(2))
    first.image[:] = 0
    second = decoder.decode(received(2))
    assert decoder.frames_decoded == 1
    assert abs(int(second.image[8, 8, 0]) - 80) <= 2
    assert first.image.max() == 0


def test_the_second_watcher_is_told_of_the_holes_as_well() -> None:
    decoder = StreamDecoder()
    decoder.decode(received(1))
    assert decoder.decode(received(2, holes=True)).fresh_area == 0.5
    again = decoder.decode(received(2, holes=True))
    assert again.fresh_area == 0.5
    assert abs(int(again.image[40, 8, 0]) - 40) <= 2  # borrowed from the frame before


def test_a_watcher_that_is_a_frame_behind_gets_that_frame() -> None:
    decoder = StreamDecoder()
    for frame_id in (1, 2, 1):
        picture = decoder.decode(received(frame_id))
        assert abs(int(picture.image[8, 8, 0]) - 40 * frame_id) <= 2
