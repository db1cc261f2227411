"""Times, shares, rates and sizes as people write them: 25ms, 2%, 6mbit, 64KiB. The words are those of `tc`.

Each has an upper bound, so that a slip of the keyboard is a sentence and not a link that never delivers, and what is
computed from them stays far from the ends of 64-bit integers and of floating point.
"""

import re
from typing import Any

DURATION_US = {"us": 1, "ms": 1_000, "s": 1_000_000}
RATE_BPS = {"bit": 1, "kbit": 1_000, "mbit": 1_000_000, "gbit": 1_000_000_000}
SIZE_BYTES = {"b": 1, "kb": 1_000, "kib": 1 << 10, "mb": 1_000_000, "mib": 1 << 20}
# A week: the longest schedule that anybody runs. As a delay absurd, but harmless.
DURATION_MAX_US = 604_800_000_000
# Above any network card. A packet of 1500 bytes then takes 12 ns; the emulator counts microseconds.
RATE_MAX_BPS = 1_000_000_000_000
# Above the buffers of any router, in which this waits for 8 s at 1 Gbit/s.
SIZE_MAX_BYTES = 1_000_000_000
# Of a value that a complaint quotes.
SHOWN_CHARACTERS = 60


class UnitError(ValueError):
    """Not written in these units."""


def parse_duration_us(text: str) -> int:
    """25ms -> 25000. Raises ValueError with a sentence."""
    return parse(text, DURATION_US, "a time such as 500us, 25ms or 1.5s", DURATION_MAX_US, "a week (604800s)")


def parse_rate_bps(text: str) -> int:
    """6mbit -> 6000000 bits a second. Raises ValueError with a sentence."""
    rate_bps = parse(text, RATE_BPS, "a rate such as 500kbit or 6mbit", RATE_MAX_BPS, "1000gbit")
    if rate_bps == 0:
        raise ValueError(f"a rate must be more than nothing, not {shown(text)}")
    return rate_bps


def parse_size_bytes(text: str) -> int:
    """64KiB -> 65536. Raises ValueError with a sentence."""
    return parse(text, SIZE_BYTES, "a size such as 1500B, 64kB or 64KiB", SIZE_MAX_BYTES, "1000MB")


def parse_share(text: str) -> float:
    """2% -> 0.02. The sign is required: 0.5 could mean half or half a percent. Raises ValueError with a sentence."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text.strip())
    if match is None or float(match[1]) > 100:
        raise ValueError(f"{shown(text)} is not a share from 0% to 100%, such as 2% or 0.5%")
    return float(match[1]) / 100


def parse(text: str, units: dict[str, int], what: str, most: int, most_in_words: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text.strip().lower())
    if match is None or match[2] not in units:
        raise UnitError(f"{shown(text)} is not {what}")
    value = float(match[1]) * units[match[2]]  # infinite where there are hundreds of digits
    if value > most:
        raise ValueError(f"{shown(text)} is more than {most_in_words}")
    return round(value)


def shown(value: Any) -> str:
    """A value for a complaint about it: as Python writes it, and not for pages."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        return "a number of thousands of digits"
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"
