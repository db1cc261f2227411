"""Times, shares, rates and sizes as people write them."""

from collections.abc import Callable

import pytest

from udpconf.emulation.units import (
    DURATION_MAX_US,
    RATE_MAX_BPS,
    SIZE_MAX_BYTES,
    parse_duration_us,
    parse_rate_bps,
    parse_share,
    parse_size_bytes,
    shown,
)


def test_units_are_those_of_tc() -> None:
    assert parse_duration_us("25ms") == 25_000
    assert parse_duration_us("500us") == 500
    assert parse_duration_us("1.5s") == 1_500_000
    assert parse_duration_us(" 0 ms ") == 0
    assert parse_rate_bps("6mbit") == 6_000_000
    assert parse_rate_bps("1.5Mbit") == 1_500_000
    assert parse_size_bytes("64kB") == 64_000
    assert parse_size_bytes("64KiB") == 65_536
    assert parse_share("2%") == 0.02
    assert parse_share("100%") == 1


@pytest.mark.parametrize("text", ["25", "ms", "-5ms", "1e3ms", "nan ms", "5 parsecs", ""])
def test_a_time_without_a_unit_or_a_number_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time such as"):
        parse_duration_us(text)


@pytest.mark.parametrize("text", ["2", "0.02", "-1%", "101%", "%"])
def test_a_share_needs_its_sign_and_its_range(text: str) -> None:
    with pytest.raises(ValueError, match="is not a share"):
        parse_share(text)


@pytest.mark.parametrize(
    ("parse", "most", "text", "more", "words"),
    [
        (parse_duration_us, DURATION_MAX_US, "604800s", "604800.000001s", "more than a week"),
        (parse_rate_bps, RATE_MAX_BPS, "1000gbit", "1000.000000001gbit", "more than 1000gbit"),
        (parse_size_bytes, SIZE_MAX_BYTES, "1000MB", "1000000001B", "more than 1000MB"),
    ],
)
def test_each_unit_has_an_end(
    parse: Callable[[str], int], most: int, text: str, more: str, words: str
) -> None:
    assert parse(text) == most
    with pytest.raises(ValueError, match=words):
        parse(more)
    with pytest.raises(ValueError, match=f"'9999.*… is {words}"):
        parse(5000 * "9" + "." + 5000 * "9" + text.lstrip("0123456789"))


def test_a_complaint_quotes_no_pages() -> None:
    assert shown("5ms") == "'5ms'"
    assert len(shown(1000 * "9")) == 60
    assert shown([16**5000]) == "a number of thousands of digits"


@pytest.mark.parametrize("text", ["0mbit", "6mb", "fast"])
def test_a_rate_is_more_than_nothing_and_in_bits(text: str) -> None:
    with pytest.raises(ValueError, match="a rate"):
        parse_rate_bps(text)
