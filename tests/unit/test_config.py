"""What people write, and what they are told when it is wrong."""

from pathlib import Path

import pytest

from udpconf import config
from udpconf.config import Target
from udpconf.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("udpconf://10.0.0.2:5000/#abacus-abdomen", Target("10.0.0.2", 5000, "abacus-abdomen")),
        ("udpconf://host.example/#a%20b%23c%2F%C3%A9", Target("host.example", 5000, "a b#c/é")),
        ("UDPCONF://Host:6000", Target("host", 6000, None)),
        ("udpconf://[2001:db8::1]:7000/#k", Target("2001:db8::1", 7000, "k")),
        ("udpconf://[fe80::1%25eth0]:7000/", Target("fe80::1%eth0", 7000, None)),
    ],
)
def test_a_join_url_gives_host_port_and_key(text: str, target: Target) -> None:
    assert config.parse_join_url(text) == target


@pytest.mark.parametrize(
    "text",
    [
        "",
        "udpconf://",
        "udpconf://:5000/",
        "http://host:5000/#k",
        "udpconf://host:0/#k",
        "udpconf://host:65536/#k",
        "udpconf://host:port/#k",
        "udpconf://me@host:5000/#k",
        "udpconf://host:5000/room#k",
        "udpconf://host:5000/?x=1#k",
        "udpconf://[::1:5000/#k",
        "udpconf://host:5000/#%ff%fe",
        "udpconf://host:5000/#two%0Alines",
        "udpconf://a b:5000/",
    ],
)
def test_what_is_not_a_join_url_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match=r"\.$"):
        config.parse_join_url(text)


def test_no_error_repeats_the_key() -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse_join_url("udpconf://host:99999/#open-sesame")
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("10.0.0.2", Target("10.0.0.2", 5001, None)),
        ("host:6000", Target("host", 6000, None)),
        ("::1", Target("::1", 5001, None)),
        ("[::1]", Target("::1", 5001, None)),
        ("[::1]:6000", Target("::1", 6000, None)),
        ("udpconf://host/#k", Target("host", 5001, "k")),
        ("udpconf://host:6000/#k", Target("host", 6000, "k")),
    ],
)
def test_a_server_is_named_by_host_or_by_url(text: str, target: Target) -> None:
    assert config.parse_target(text, default_port=5001) == target


@pytest.mark.parametrize(
    "text", ["", "host:", "host:x", "host:0", "a b", "host/path", "[::1]:x", "http://host"]
)
def test_what_names_no_server_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        config.parse_target(text)


def test_a_made_key_is_five_words_of_7776() -> None:
    words = config.word_list()
    assert len(words) == len(set(words)) == 7776
    key = config.generate_key()
    assert config.generate_key() != key
    # Four of the words hold a hyphen themselves, so a key has five words and four hyphens or a few more.
    assert key.count("-") >= config.KEY_WORDS - 1
    assert config.parse_join_url(config.format_join_url("h", 1, key)).passphrase == key


@pytest.mark.parametrize(
    ("text", "ports"), [("5556-5655", (5556, 5655)), ("7000", (7000, 7000)), (" 1-65535 ", (1, 65535))]
)
def test_a_port_range_includes_both_ends(text: str, ports: tuple[int, int]) -> None:
    ports_read = config.parse_port_range(text)
    assert ports_read == ports
    assert config.parse_port_range(str(ports_read)) == ports


@pytest.mark.parametrize(
    "text", ["", "-", "5-", "-5", "0-5", "5-65536", "9-5", "a-b", "5--6", "\u0661-\u0662"]
)
def test_what_is_not_a_port_range_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        config.parse_port_range(text)


def test_a_passphrase_file_holds_one_line(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    for content in (b"one two three", b"one two three\n", b"one two three\r\n"):
        path.write_bytes(content)
        assert config.read_passphrase_file(path) == "one two three"
    for content in (b"", b"\n", b"one\ntwo\n", b"\xff\xfe\x00", b"x" * 5000):
        path.write_bytes(content)
        with pytest.raises(ConfigError):
            config.read_passphrase_file(path)
    with pytest.raises(ConfigError, match="No such file"):
        config.read_passphrase_file(tmp_path / "missing")


def test_a_passphrase_may_be_as_long_as_its_limit() -> None:
    limit = config.PASSPHRASE_MAX_BYTES
    for length in (limit - 1, limit):
        assert config.check_passphrase("x" * length)
    with pytest.raises(ConfigError):
        config.check_passphrase("x" * (limit + 1))


def test_qualities_lie_between_one_and_a_hundred_in_order() -> None:
    for quality, min_quality in ((75, 20), (1, 1), (100, 100)):
        config.check_quality(quality, min_quality)
    for quality, min_quality in ((20, 75), (101, 20), (75, 0)):
        with pytest.raises(ConfigError):
            config.check_quality(quality, min_quality)


def test_a_bitrate_and_a_latency_have_limits() -> None:
    for kbps in (config.BITRATE_MIN_KBPS, config.BITRATE_MAX_KBPS):
        assert config.check_bitrate_kbps(kbps) == kbps
    for kbps in (config.BITRATE_MIN_KBPS - 1, config.BITRATE_MAX_KBPS + 1):
        with pytest.raises(ConfigError):
            config.check_bitrate_kbps(kbps)
    assert config.check_latency_ms(None) is None
    assert config.check_latency_ms(config.LATENCY_MAX_MS) == config.LATENCY_MAX_MS
    for latency_ms in (-1.0, config.LATENCY_MAX_MS + 1.0):
        with pytest.raises(ConfigError):
            config.check_latency_ms(latency_ms)
