"""The wall shows who is here, and says of whom nothing more comes; the window process is a list of what it was given."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from udpconf.cli import wall as wall_module
from udpconf.cli.wall import Layout, Wall
from udpconf.media.display import DEFAULT_SIZE
from udpconf.media.grid import Tile

BRIGHT = np.full((90, 160, 3), 200, np.uint8)
PATIENCE_S = 10.0


class Screen:
    """Stands for Display."""

    def __init__(self, _title: str, _on_key: object) -> None:
        self.alive = True
        self.size = DEFAULT_SIZE
        self.changed = threading.Condition()
        self.canvas: NDArray[np.uint8] | None = None
        self.canvases = 0
        self.windows: dict[str, NDArray[np.uint8]] = {}

    def show(self, canvas: NDArray[np.uint8]) -> None:
        with self.changed:
            self.canvas = canvas
            self.canvases += 1
            self.changed.notify_all()

    def window_size(self, _window_id: str) -> tuple[int, int]:
        return self.size

    def show_window(self, window_id: str, _title: str, canvas: NDArray[np.uint8]) -> None:
        with self.changed:
            self.windows[window_id] = canvas
            self.changed.notify_all()

    def close_window(self, window_id: str) -> None:
        with self.changed:
            del self.windows[window_id]
            self.changed.notify_all()

    def close(self) -> None:
        self.alive = False


class Room:
    """A wall, a clock that is set by hand, and who is here."""

    def __init__(self, layout: Layout = "grid") -> None:
        self.now_s = 100.0
        self.present: set[str] = set()
        self.wall = Wall(
            "test", layout, "", lambda _key: None, present=lambda: self.present, clock=lambda: self.now_s
        )
        screen = self.wall._display
        assert isinstance(screen, Screen)
        self.screen = screen

    def tiles(self) -> dict[str, Tile]:
        return self.wall._current()

    def wait_for_windows(self, *expected: str) -> None:
        with self.screen.changed:
            assert self.screen.changed.wait_for(lambda: set(self.screen.windows) == set(expected), PATIENCE_S)


@pytest.fixture
def rooms(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Room]]:
    monkeypatch.setattr(wall_module, "Display", Screen)
    made: list[Room] = []
    yield made
    for room in made:
        room.wall.close()


def test_a_frame_that_is_taken_after_its_client_has_left_makes_no_tile(rooms: list[Room]) -> None:
    rooms.append(room := Room())
    room.present = {"a"}
    room.wall.put("a", name="a", image=BRIGHT)
    assert set(room.tiles()) == {"a"}
    room.present = set()
    room.wall.remove("a")
    room.wall.put("a", name="a", image=BRIGHT)
    assert room.tiles() == {}


def test_a_tile_whose_client_is_gone_is_not_drawn_again(rooms: list[Room]) -> None:
    rooms.append(room := Room())
    room.present = {"a", "b"}
    room.wall.put("a", name="a", image=BRIGHT)
    room.wall.put("b", name="b", image=BRIGHT)
    room.present = {"b"}
    assert set(room.tiles()) == {"b"}


def test_a_window_goes_with_its_client_and_stays_away(rooms: list[Room]) -> None:
    rooms.append(room := Room("windows"))
    room.present = {"a", "b"}
    for client_id in room.present:
        room.wall.put(client_id, name=client_id, image=BRIGHT)
    room.wait_for_windows("a", "b")
    room.present = {"b"}
    room.wall.put("a", name="a", image=BRIGHT)
    room.wait_for_windows("b")


def test_a_picture_that_nothing_follows_is_silent_after_one_and_a_half_seconds(rooms: list[Room]) -> None:
    rooms.append(room := Room())
    room.present = {"camera", "sound only"}
    room.wall.put("sound only", name="sound only")
    for _ in range(3):
        room.now_s += 1 / 30
        room.wall.put("camera", name="camera", image=BRIGHT)
    room.now_s += 1.4
    assert room.tiles()["camera"].silent_s is None
    room.now_s += 0.2
    assert room.tiles()["camera"].silent_s == 1
    room.now_s += 3
    assert room.tiles()["camera"].silent_s == 4
    assert room.tiles()["sound only"].silent_s is None
    room.wall.put("camera", image=BRIGHT)
    assert room.tiles()["camera"].silent_s is None


def test_a_slow_sender_is_not_silent_between_its_frames(rooms: list[Room]) -> None:
    rooms.append(room := Room())
    room.present = {"slow"}
    for _ in range(2):
        room.now_s += 5
        room.wall.put("slow", name="slow", image=BRIGHT)
    room.now_s += 5
    assert room.tiles()["slow"].silent_s is None
    room.now_s += 11
    assert room.tiles()["slow"].silent_s == 16
