"""Times, shares, rates and sizes as people write them."""

import pytest

from udpconf.emulation.units import parse_duration_us, parse_rate_bps, parse_share, parse_size_bytes


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


@pytest.mark.parametrize("text", ["0mbit", "6mb", "fast"])
def test_a_rate_is_more_than_nothing_and_in_bits(text: str) -> None:
    with pytest.raises(ValueError, match="a rate"):
        parse_rate_bps(text)
