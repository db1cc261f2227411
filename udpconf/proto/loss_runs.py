"""Which packets did not come, and in how many runs, told when they are not likely to come any more."""

# Packets that overtake each other by more are as good as lost; of sound, this is a third of a second.
REORDERED_MAX = 32
# A jump by more is no loss that one could make anything of.
JUMP_MAX = 1000


class LossRuns:
    """Of one row of packet numbers.

    Attributes:
        received, lost, runs: totals of what is settled: packets that came, that did not, and in so many runs.
    """

    def __init__(self) -> None:
        self.received = self.lost = self.runs = 0
        self._highest: int | None = None
        self._settled = 0  # up to and with this number
        self._came: set[int] = set()  # above it
        self._in_run = False

    def handle_packet(self, number: int) -> None:
        """A packet came, with its number in full."""
        if self._highest is None or number - self._highest > JUMP_MAX:
            self._highest, self._settled = number, number - 1
            self._came.clear()
        elif number <= self._settled:
            return
        self._came.add(number)
        self._highest = max(self._highest, number)
        while self._highest - self._settled > REORDERED_MAX:
            self._settled += 1
            if self._settled in self._came:
                self._came.remove(self._settled)
                self.received += 1
                self._in_run = False
            else:
                self.lost += 1
                self.runs += not self._in_run
                self._in_run = True
