"""A sender's figures over all its sessions: one that was lost and came back begins its counts anew."""

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from udpconf.app.values import ClientStats

COUNTS = (
    "packets_received",
    "packets_lost",
    "frames_whole",
    "frames_with_holes",
    "frames_skipped",
    "audio_frames_received",
    "audio_frames_duplicate",
    "audio_frames_from_copies",
    "audio_frames_concealed",
)


class SessionTotals:
    """Looked at several times a second, it sees every session; what came in the last moment of a lost one is not counted.

    Attributes:
        times_lost: how many sessions came to an end before this one.
        last: the statistics as they were last; None before the first look.
    """

    def __init__(self) -> None:
        self.last: ClientStats | None = None
        self.times_lost = 0
        self._ended: Counter[str] = Counter()  # of the sessions before this one
        self._current: dict[str, int] = {}

    def look(self, stats: "ClientStats") -> None:
        self.last = stats
        counts: dict[str, int] = {name: getattr(stats, name) for name in COUNTS}
        if counts["packets_received"] < self._current.get("packets_received", 0):
            self.times_lost += 1
            self._ended.update(self._current)
        self._current = counts

    def __getitem__(self, name: str) -> int:
        return self._ended[name] + self._current.get(name, 0)
