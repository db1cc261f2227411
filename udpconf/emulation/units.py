"""Times, shares, rates and sizes as people write them: 25ms, 2%, 6mbit, 64KiB. The words are those of `tc`."""

import re

DURATION_US = {"us": 1, "ms": 1_000, "s": 1_000_000}
RATE_BPS = {"bit": 1, "kbit": 1_000, "mbit": 1_000_000, "gbit": 1_000_000_000}
SIZE_BYTES = {"b": 1, "kb": 1_000, "kib": 1 << 10, "mb": 1_000_000, "mib": 1 << 20}


def parse_duration_us(text: str) -> int:
    """25ms -> 25000. Raises ValueError with a sentence."""
    return parse(text, DURATION_US, "a time such as 500us, 25ms or 1.5s")


def parse_rate_bps(text: str) -> int:
    """6mbit -> 6000000 bits a second. Raises ValueError with a sentence."""
    rate_bps = parse(text, RATE_BPS, "a rate such as 500kbit or 6mbit")
    if rate_bps == 0:
        raise ValueError(f"a rate must be more than nothing, not {text!r}")
    return rate_bps


def parse_size_bytes(text: str) -> int:
    """64KiB -> 65536. Raises ValueError with a sentence."""
    return parse(text, SIZE_BYTES, "a size such as 1500B, 64kB or 64KiB")


def parse_share(text: str) -> float:
    """2% -> 0.02. The sign is required: 0.5 could mean half or half a percent. Raises ValueError with a sentence."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text.strip())
    if match is None or float(match[1]) > 100:
        raise ValueError(f"{text!r} is not a share from 0% to 100%, such as 2% or 0.5%")
    return float(match[1]) / 100


def parse(text: str, units: dict[str, int], what: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text.strip().lower())
    if match is None or match[2] not in units:
        raise ValueError(f"{text!r} is not {what}")
    return round(float(match[1]) * units[match[2]])
