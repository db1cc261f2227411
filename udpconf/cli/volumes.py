"""One client is selected in the window and made louder, softer or silent, by keys."""

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

# The smallest change that everybody notices.
STEP_DB = 3
# Half the loudness is -10 dB; below -30 there is muting. Above, four times the amplitude is all that Server allows.
LOWEST_DB, HIGHEST_DB = -30, 12
STEPS = {"+": STEP_DB, "=": STEP_DB, "-": -STEP_DB}  # without shift, + is = on an English keyboard
NEXT_KEY, MUTE_KEY = "\t", "x"
DIGITS = "123456789"


class Volume(NamedTuple):
    """How loud one client is heard."""

    decibels: int = 0
    muted: bool = False

    @property
    def factor(self) -> float:
        """Of the amplitude, as Server.set_volume wants it."""
        return 0.0 if self.muted else min(float(10 ** (self.decibels / 20)), 4.0)


class Volumes:
    """Everybody's, by client id; they outlast a client's absence.

    Args:
        set_volume: is told each change.
        tiles: the ids of those who are shown, in the order of the tiles.
    """

    def __init__(self, set_volume: Callable[[str, float], None], tiles: Callable[[], Sequence[str]]) -> None:
        self._set_volume = set_volume
        self._tiles = tiles
        self._volumes: dict[str, Volume] = {}
        self._selected: str | None = None
        self._lock = threading.Lock()  # a client comes back in another thread than keys are pressed

    @property
    def selected(self) -> str | None:
        """Whose volume the keys change."""
        return self._selected if self._selected in self._tiles() else None

    def of(self, client_id: str) -> Volume:
        """A client's; as it came if nobody changed it."""
        return self._volumes.get(client_id, Volume())

    def handle_key(self, key: str) -> bool:
        """Tab and digits select, x mutes, + and - change the volume. False: the key means nothing here, or not now."""
        tiles = self._tiles()
        if key == NEXT_KEY:
            # One after the other, then nobody, then from the beginning.
            after = tiles.index(self._selected) + 1 if self._selected in tiles else 0
            self._selected = tiles[after] if after < len(tiles) else None
        elif key and key in DIGITS:
            place = int(key) - 1
            if place >= len(tiles):
                return False
            self._selected = tiles[place]
        elif (key == MUTE_KEY or key in STEPS) and self.selected is not None:
            self._change(self.selected, key)
        else:
            return False
        return True

    def joined(self, client_id: str) -> None:
        """Who comes back is heard as before it went."""
        with self._lock:
            if client_id in self._volumes:
                self._set_volume(client_id, self._volumes[client_id].factor)

    def _change(self, client_id: str, key: str) -> None:
        with self._lock:
            decibels, muted = self.of(client_id)
            if key == MUTE_KEY:
                muted = not muted
            else:
                decibels = min(max(decibels + STEPS[key], LOWEST_DB), HIGHEST_DB)
            self._volumes[client_id] = Volume(decibels, muted)
            self._set_volume(client_id, self._volumes[client_id].factor)
