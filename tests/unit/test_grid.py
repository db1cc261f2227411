"""The grid puts each picture where it belongs, whatever the names, times and sizes are."""

import numpy as np
import pytest
from numpy.typing import NDArray

from udpconf.media.grid import Tile, compose, drawable, grid_shape, utc_caption

BLUE, GREEN, RED, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def picture(colour: tuple[int, int, int], width: int = 320, height: int = 180) -> NDArray[np.uint8]:
    return np.full((height, width, 3), colour, np.uint8)


def tile(image: NDArray[np.uint8] | None, **fields: object) -> Tile:
    return Tile("cam-1", "10.0.0.7:40000", image)._replace(**fields)  # type: ignore[arg-type]


def test_the_grid_is_near_square_and_holds_everybody() -> None:
    assert [grid_shape(count) for count in (1, 2, 3, 4, 5, 6, 7, 9, 10, 16)] == [
        (1, 1), (2, 1), (2, 2), (2, 2), (3, 2), (3, 2), (3, 3), (3, 3), (4, 3), (4, 4),
    ]  # fmt: skip
    for count in range(1, 300):
        columns, rows = grid_shape(count)
        assert columns * rows >= count > columns * (rows - 1)
        assert 0 <= columns - rows <= 1


def test_each_picture_is_in_the_middle_of_its_tile() -> None:
    canvas = compose([tile(picture(colour)) for colour in (BLUE, GREEN, RED)], 1280, 720)
    assert canvas.shape == (720, 1280, 3)
    assert canvas.dtype == np.uint8
    assert tuple(canvas[180, 320]) == BLUE
    assert tuple(canvas[180, 960]) == GREEN
    assert tuple(canvas[540, 320]) == RED
    assert canvas[540, 960].max() < 50  # the fourth place is empty


def test_a_picture_keeps_its_aspect_ratio() -> None:
    canvas = compose([tile(picture(GREEN, 100, 400))], 800, 400)
    green = np.argwhere((canvas == GREEN).all(axis=2))
    assert green[:, 1].min() == 350
    assert green[:, 1].max() == 449


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (641, 361), (3840, 2160)])
def test_pictures_of_any_size_fit(size: tuple[int, int]) -> None:
    canvas = compose([tile(picture(GREEN, *size))] * 5, 640, 360)
    assert ((canvas == GREEN).all(axis=2)).any()


@pytest.mark.parametrize("size", [(16, 16), (17, 400), (400, 17), (160, 90), (1280, 720)])
def test_canvases_of_any_size_hold_any_number_of_tiles(size: tuple[int, int]) -> None:
    for count in (0, 1, 2, 7, 256):
        assert compose([tile(picture(GREEN))] * count, *size, waiting="udpconf://x").shape == (
            size[1],
            size[0],
            3,
        )


def test_the_caption_is_readable_on_a_white_wall() -> None:
    """A dark band lies behind white text, at the top and at the bottom, and nowhere else."""
    canvas = compose([tile(picture(WHITE, 640, 360), capture_wall_us=0)], 640, 360)
    band = canvas[-18:]
    assert np.median(band) < 90
    assert band.max() > 230
    assert np.median(canvas[:18]) < 90
    assert (canvas[100:260] == 255).all()


def test_recording_and_mute_leave_their_marks() -> None:
    plain = compose([tile(picture(WHITE))], 640, 360)
    recording = compose([tile(picture(WHITE), recording=True)], 640, 360)
    both = compose([tile(picture(WHITE), recording=True, muted=True)], 640, 360)

    def red(canvas: NDArray[np.uint8]) -> int:
        blue_channel, red_channel = canvas[..., 0].astype(int), canvas[..., 2].astype(int)
        return int((red_channel - blue_channel > 100).sum())

    assert red(plain) == 0
    assert red(recording) > 20
    assert (recording != both).any()


def test_a_client_without_a_picture_shows_its_note() -> None:
    silent = compose([tile(None)], 640, 360)
    sound_only = compose([tile(None, note="sound only")], 640, 360)
    assert (silent[120:240] != sound_only[120:240]).any()


def test_an_empty_room_shows_the_address_to_join() -> None:
    without = compose([], 640, 360)
    given = compose([], 640, 360, waiting="udpconf://192.168.1.5:5000/#one-two-three-four-five")
    assert given.max() > 100
    assert (without != given).any()


def test_the_canvas_belongs_to_the_caller_and_the_pictures_stay_as_they_were() -> None:
    image = picture(WHITE, 640, 360)
    canvas = compose([tile(image)], 640, 360)
    canvas[:] = 0
    assert (image == 255).all()


def test_capture_times_are_utc_with_milliseconds() -> None:
    assert utc_caption(0) == "1970-01-01 00:00:00.000 UTC"
    assert utc_caption(1_763_807_601_123_999) == "2025-11-22 10:33:21.123 UTC"


@pytest.mark.parametrize("wall_us", [-(2**63), 2**63, 2**80, -1])
def test_a_nonsense_time_from_a_sender_is_harmless(wall_us: int) -> None:
    assert isinstance(utc_caption(wall_us), str)
    compose([tile(picture(GREEN), capture_wall_us=wall_us)], 320, 180)


def test_accents_fall_off_where_fonts_know_ascii_only() -> None:
    assert drawable("Büro Süd", any_script=False) == "Buro Sud"
    assert drawable("Straße Łódź Ærø", any_script=False) == "Strasse Lodz AEro"
    assert drawable("摄像头 1", any_script=False) == "? 1"
    assert drawable("摄像头 1", any_script=True) == "摄像头 1"


@pytest.mark.parametrize("any_script", [True, False])
def test_nothing_that_steers_a_terminal_or_turns_text_around_is_drawn(any_script: bool) -> None:
    assert drawable("a\x00b\x1b[31mc\u202ed\u200be\ud800f\n", any_script=any_script) == "ab[31mcdef"


def test_a_picture_without_a_signal_is_dimmed_and_says_so() -> None:
    live = compose([tile(picture(WHITE), frames_per_second=30.0)], 640, 360)
    silent = compose([tile(picture(WHITE), frames_per_second=30.0, silent_s=4)], 640, 360)
    assert (live[60:300] == 255).all()
    assert np.median(silent[60:300]) < 90
    assert silent[160:200].max() > 150  # the words in the middle
    # The caption says 0.0 fps, as that of one that never had any.
    stopped = compose([tile(picture(WHITE), frames_per_second=0.0, silent_s=4)], 640, 360)
    assert (silent == stopped).all()


def test_the_empty_grid_has_as_many_lines_as_it_is_given() -> None:
    def rows_with_text(waiting: str) -> int:
        return int((compose([], 640, 360, waiting=waiting).max(axis=(1, 2)) > 100).sum())

    assert rows_with_text("") < rows_with_text("one") < rows_with_text("one\ntwo")


def test_who_speaks_has_a_frame() -> None:
    silent, speaking = (
        compose([tile(picture(WHITE), speaking=speaking)], 320, 180) for speaking in (False, True)
    )
    differs = (silent != speaking).any(axis=2)
    assert differs[0].any() or differs[1].all()
    assert differs[:, 1].all()
    assert not differs[20:160, 20:300].any()


def test_who_is_selected_has_a_frame_around_that_of_who_speaks() -> None:
    def frames(*, selected: bool, speaking: bool) -> list[tuple[int, ...]]:
        canvas = compose([tile(picture(WHITE), selected=selected, speaking=speaking)], 320, 180)
        return [tuple(canvas[90, column]) for column in (1, 5)]

    white, green = frames(selected=True, speaking=True)
    assert min(white) > 200
    assert green == frames(selected=False, speaking=True)[0]


def test_a_changed_volume_and_a_muted_one_are_told_apart() -> None:
    pictures = [
        compose([tile(picture(WHITE), volume_db=volume_db, muted=muted)], 640, 360)
        for volume_db, muted in ((0, False), (-6, False), (6, False), (-6, True))
    ]
    assert len({canvas.tobytes() for canvas in pictures}) == 4
    assert not (pictures[0] != pictures[1])[40:320].any(), "only the caption differs"
