"""The window of a server or a sender: the newest picture of everybody, drawn at most 60 times a second.

any thread ─► put() ─► [newest tile of each] ─► drawing thread ─► Display (a process of its own)
"""

import threading
import time
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any, Literal, NamedTuple

from udpconf.errors import ConfigError
from udpconf.media.display import DEFAULT_SIZE, Display, display_available
from udpconf.media.grid import Tile, compose
from udpconf.media.native import cv2
from udpconf.media.picture import Picture

# As often as most screens show a new picture. A canvas of 1280x720 takes 2 to 4 ms to draw.
DRAW_INTERVAL_S = 1 / 60
# Nothing new comes from a silent room, but captions and a resized window want to be drawn all the same.
IDLE_INTERVAL_S = 0.5
# A picture that nothing follows for so long is shown as what it is. Longer than the breaks of a bad network.
SILENT_AFTER_S = 1.5
# A slow sender (a frame each 5 s) is silent when so many of its intervals pass.
SILENT_INTERVALS = 3

Layout = Literal["grid", "windows"]


class _Pictured(NamedTuple):
    """When a client's last picture came, and how long after the one before."""

    at_s: float
    interval_s: float

    def silent_s(self, now_s: float) -> int | None:
        """Seconds without a picture, once that is too long, else None."""
        quiet_s = now_s - self.at_s
        return int(quiet_s) if quiet_s >= max(SILENT_AFTER_S, SILENT_INTERVALS * self.interval_s) else None


class Wall:
    """Tiles by client, and the windows that show them.

    Args:
        title: of the one window.
        layout: ``grid``, all in one window, or ``windows``, one each.
        waiting: the lines of the empty grid below "Waiting for senders".
        on_key: called with each key that the display forwards, on the display's thread.
        size: width and height of the one window when it opens, in pixels.
        present: the ids of all who are here at the moment; frames still come out of a queue when their client has
            left, and make no tile then. None: whoever has a tile is here until ``remove``.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        title: str,
        layout: Layout,
        waiting: str,
        on_key: Callable[[str], None],
        size: tuple[int, int] = DEFAULT_SIZE,
        present: Callable[[], Container[str]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._present = present
        self._clock = clock
        self._first_size = size
        self._layout = layout
        self._waiting = waiting
        self._lock = threading.Lock()  # guards the three below
        self._tiles: dict[str, Tile] = {}
        self._changed: set[str] = set()
        self._pictured: dict[str, _Pictured] = {}
        self._windows: set[str] = set()  # open ones of the layout "windows"; the drawing thread's
        self._wake = threading.Event()
        self._closing = False
        self._display = Display(title, on_key)
        self._thread = threading.Thread(target=self._draw, name="udpconf wall", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """The windows are there; they may go without anybody asking (the display's end), and the rest goes on."""
        return self._display.alive

    def clients(self) -> list[str]:
        """The ids of those who have a tile, in the order of the tiles."""
        with self._lock:
            return list(self._tiles)

    def put(self, client_id: str, **fields: Any) -> None:
        """Change a client's tile, or make it; ``fields`` are those of grid.Tile. The image is the wall's from now on."""
        if self._present is not None and client_id not in self._present():
            return
        with self._lock:
            tile = self._tiles.get(client_id) or Tile("", "", None)
            self._tiles[client_id] = tile._replace(**fields)
            self._changed.add(client_id)
            if "image" in fields:
                now_s, before = self._clock(), self._pictured.get(client_id)
                self._pictured[client_id] = _Pictured(now_s, 0.0 if before is None else now_s - before.at_s)
        self._wake.set()

    def update(self, client_id: str, **fields: Any) -> None:
        """As ``put``, but only if the client is there."""
        with self._lock:
            tile = self._tiles.get(client_id)
            if tile is not None:
                self._tiles[client_id] = tile._replace(**fields)
                self._changed.add(client_id)
        self._wake.set()

    def remove(self, client_id: str) -> None:
        """Take a client's tile away."""
        with self._lock:
            self._forget(client_id)
        self._wake.set()

    def _forget(self, client_id: str) -> None:
        self._tiles.pop(client_id, None)
        self._pictured.pop(client_id, None)
        self._changed.discard(client_id)

    def snapshot(self, directory: Path, stem: str) -> Path:
        """Write the grid as it is now to ``directory/stem.png`` and return the path.

        Raises:
            ConfigError: it cannot be written there.
        """
        return write_png(directory / f"{stem}.png", self._canvas())

    def close(self) -> None:
        """Close the windows; takes half a second at most."""
        self._closing = True
        self._wake.set()
        self._thread.join(1.0)
        self._display.close()

    def _canvas(self) -> Picture:
        tiles = list(self._current().values())
        # The display knows no size of its own before somebody pulls at the window.
        size = self._display.size
        width, height = self._first_size if size == DEFAULT_SIZE else size
        return compose(tiles, width, height, waiting=self._waiting)

    def _current(self) -> dict[str, Tile]:
        """The tiles of all who are here, brought up to date: who has left, and who should be heard of and is not."""
        present = None if self._present is None else self._present()
        now_s = self._clock()
        with self._lock:
            for client_id, tile in list(self._tiles.items()):
                if present is not None and client_id not in present:
                    self._forget(client_id)
                    continue
                pictured = self._pictured.get(client_id)
                silent_s = None if pictured is None else pictured.silent_s(now_s)
                if silent_s != tile.silent_s:
                    self._tiles[client_id] = tile._replace(silent_s=silent_s)
                    self._changed.add(client_id)
            return dict(self._tiles)

    def _draw(self) -> None:
        while not self._closing and self._display.alive:
            self._wake.wait(IDLE_INTERVAL_S)
            self._wake.clear()
            started_s = time.monotonic()
            if self._layout == "grid":
                self._display.show(self._canvas())
            else:
                self._draw_changed()
            time.sleep(max(0.0, started_s + DRAW_INTERVAL_S - time.monotonic()))

    def _draw_changed(self) -> None:
        self._current()
        with self._lock:
            tiles = dict(self._tiles)
            changed, self._changed = self._changed, set()
        # Closed here and not by who removes the tile, so that none is drawn once more after that.
        for client_id in self._windows - tiles.keys():
            self._display.close_window(client_id)
        self._windows = set(tiles)
        for client_id in changed:
            tile = tiles[client_id]
            width, height = self._display.window_size(client_id)
            self._display.show_window(client_id, tile.name, compose([tile], width, height))


def open_wall(
    wanted: bool | None,
    title: str,
    layout: Layout,
    waiting: str,
    on_key: Callable[[str], None],
    size: tuple[int, int] = DEFAULT_SIZE,
    present: Callable[[], Container[str]] | None = None,
) -> tuple[Wall | None, str]:
    """A wall, or None and the sentence that says why not (empty when ``wanted`` is False); else as for Wall."""
    if wanted is False:
        return None, ""
    available, why_not = display_available()
    if not available:
        return None, why_not
    return Wall(title, layout, waiting, on_key, size, present), ""


def write_png(path: Path, picture: Picture) -> Path:
    """Write a picture and return the path.

    Raises:
        ConfigError: it cannot be written.
    """
    _, data = cv2.imencode(".png", picture)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}. Choose another directory.") from error
    return path
