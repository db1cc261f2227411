"""Errors of our own, in threads that have to go on for everybody else."""

import logging
import os
from collections import Counter


class OwnErrors:
    """Logs one for each place in the code, and counts all.

    Args:
        log: where to.
        counters: counted there, as ``error TYPE at PLACE``.

    Attributes:
        strict: with UDPCONF_STRICT=1 (tests) they are raised.
    """

    def __init__(self, log: logging.Logger, counters: Counter[str]) -> None:
        self._log = log
        self._counters = counters
        self.strict = os.environ.get("UDPCONF_STRICT") == "1"

    def survive(self, error: Exception, what: str) -> None:
        """While handling it. ``what`` failed; raises it again if it is strict."""
        if self.strict:
            raise error
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "somewhere"
        key = f"error {type(error).__name__} at {place}"
        self._counters[key] += 1
        if self._counters[key] == 1:
            self._log.error(
                "%s failed, which is an error in udpconf; it goes on. %s", what, key, exc_info=error
            )
