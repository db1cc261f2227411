"""Addresses and names, whatever people put into them."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from udpconf import config
from udpconf.errors import ConfigError
from udpconf.limits import NAME_MAX_BYTES
from udpconf.names import clean_name

PORTS = st.integers(1, 65535)
ADDRESSES = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.from_regex(r"[a-z][a-z0-9-]{0,20}(\.[a-z]{2,8})?", fullmatch=True),
)
PRINTABLE = st.characters(codec="utf-8", exclude_categories=["Cc"])
PASSPHRASES = st.text(PRINTABLE, min_size=1, max_size=60).filter(lambda text: bool(text.strip()))


@given(ADDRESSES, PORTS, st.none() | PASSPHRASES)
def test_a_join_url_is_read_back_as_it_was_written(host: str, port: int, passphrase: str | None) -> None:
    url = config.format_join_url(host, port, passphrase)
    assert url.isascii()
    assert " " not in url
    assert config.parse_join_url(url) == config.Target(host, port, passphrase)


@given(st.text(max_size=80))
def test_any_text_names_a_server_or_raises_config_error_only(text: str) -> None:
    for candidate in (text, "udpconf://" + text):
        try:
            target = config.parse_target(candidate)
        except ConfigError:
            continue
        assert 1 <= target.port <= 65535
        assert target.host


@given(st.text(max_size=20))
def test_any_text_is_a_port_range_or_raises_config_error_only(text: str) -> None:
    try:
        low, high = config.parse_port_range(text)
    except ConfigError:
        return
    assert 1 <= low <= high <= 65535


@given(st.text(st.characters(), max_size=200))
def test_a_clean_name_is_short_printable_and_stays_as_it_is(name: str) -> None:
    clean = clean_name(name)
    assert clean
    assert clean == clean_name(clean)
    assert len(clean.encode()) <= NAME_MAX_BYTES
    assert clean == unicodedata.normalize("NFC", clean)
    assert "/" not in clean
    assert all(unicodedata.category(character)[0] in "LMN" or character in " -_.'" for character in clean)
