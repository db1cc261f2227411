"""Which refused clients are worth telling the operator about, so that nobody can fill a log with them."""

from collections import deque

from udpconf.limits import REFUSALS_TOLD_INTERVAL_US, REFUSALS_TOLD_MAX


class RefusalsTold:
    """One a source and a few in all within any minute; what it remembers is bounded by that."""

    def __init__(self) -> None:
        self._told: deque[tuple[int, bytes]] = deque()  # when, and which source

    def tell(self, now_us: int, source: bytes) -> bool:
        """Whether this one is to be told; True counts it as told."""
        while self._told and now_us - self._told[0][0] >= REFUSALS_TOLD_INTERVAL_US:
            self._told.popleft()
        if len(self._told) >= REFUSALS_TOLD_MAX or any(source == known for _, known in self._told):
            return False
        self._told.append((now_us, source))
        return True
