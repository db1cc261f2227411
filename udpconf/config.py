"""Settings as people write them: join URLs, keys, port ranges, limits of quality and bitrate.

Everything here takes text or numbers from a command line, a file or a caller, and either returns a checked value or
raises ConfigError with a sentence that says what to write instead. No message repeats a secret.
"""

import re
import secrets
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from udpconf.errors import ConfigError

SCHEME = "udpconf"
DEFAULT_PORT = 5000
# Five of 7776 words are 64.6 bits: CPace leaves nothing to test offline, so guessing means asking the server each time.
KEY_WORDS = 5
# Long enough for any sentence; a file given by mistake (a picture, a log) is refused instead of hashed.
PASSPHRASE_MAX_BYTES = 1024
QUALITY_MIN = 1
QUALITY_MAX = 100
# 32 kbit/s of sound take 120 to 190 with their copies and headers (measured); less has no room for a picture beside them.
BITRATE_MIN_KBPS = 200
BITRATE_MAX_KBPS = 10_000_000
# Frames wait in memory, at most 64 of a client (limits.py): 2 s at 30 frames/s.
LATENCY_MAX_MS = 2_000


class PortRange(NamedTuple):
    """UDP ports in a row; both ends belong to it."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low}-{self.high}"


DEFAULT_AUDIO_PORTS = PortRange(5556, 5655)


class Target(NamedTuple):
    """Where to send, and the secret if the address carried one.

    Attributes:
        host: name or address, IPv6 without brackets.
        port: the UDP port, 1..65535.
        passphrase: the decoded fragment of a join URL, or None.
    """

    host: str
    port: int
    passphrase: str | None


@lru_cache(maxsize=1)
def word_list() -> tuple[str, ...]:
    """The 7776 words keys are made of (EFF's large list; source and licence stand at the top of the file)."""
    text = resources.files("udpconf").joinpath("wordlist.txt").read_text(encoding="ascii")
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))


def generate_key() -> str:
    """Return a fresh five-word key, for example ``unmasked-oxidize-spoon-tinfoil-carport`` (64.6 bits)."""
    return "-".join(secrets.choice(word_list()) for _ in range(KEY_WORDS))


def parse_join_url(text: str, default_port: int = DEFAULT_PORT) -> Target:
    """Read ``udpconf://host:port/#key``; the key may be percent-encoded, an IPv6 address stands in brackets.

    Raises:
        ConfigError: it is not such a URL.
    """
    shown = text.split("#", 1)[0]
    try:
        parts = urlsplit(text.strip())
        host = unquote(parts.hostname or "", errors="strict")
        port = parts.port
        key = unquote(parts.fragment, errors="strict")
    except ValueError as error:
        raise ConfigError(
            f"{shown!r} is not an address to join ({error}); write udpconf://host:port/#key."
        ) from None
    if parts.scheme != SCHEME:
        raise ConfigError(f"{shown!r} does not begin with {SCHEME}://; write udpconf://host:port/#key.")
    if not host or parts.username is not None or parts.query or parts.path not in ("", "/"):
        raise ConfigError(f"{shown!r} is not an address to join; write udpconf://host:port/#key.")
    _check_host(host)
    return Target(
        host,
        check_port(default_port if port is None else port),
        check_passphrase(key) if key else None,
    )


def format_join_url(host: str, port: int, passphrase: str | None) -> str:
    """Write the URL that parse_join_url reads back: IPv6 in brackets, the key percent-encoded, ``None`` without one."""
    place = f"[{quote(host, safe=':')}]" if ":" in host else quote(host)
    return f"{SCHEME}://{place}:{port}/" + (f"#{quote(passphrase, safe='')}" if passphrase else "")


def parse_target(text: str, default_port: int = DEFAULT_PORT) -> Target:
    """Read what may stand where a server is named: a join URL, ``host``, ``host:port``, ``[v6]:port`` or a bare v6.

    Raises:
        ConfigError: it is none of these.
    """
    text = text.strip()
    if "://" in text:
        return parse_join_url(text, default_port)
    bracketed = re.fullmatch(r"\[([^\[\]]+)\](?::(\d+))?", text)
    if bracketed:
        host, port = bracketed.group(1), bracketed.group(2)
    elif text.count(":") == 1:
        host, port = text.split(":")
    else:
        host, port = text, None
    _check_host(host)
    if port is None:
        return Target(host, check_port(default_port), None)
    return Target(host, check_port(_number(port, f"the port in {text!r}")), None)


def _check_host(host: str) -> None:
    if not host or re.search(r"[\s/#?@\[\]]", host) or not host.isprintable():
        raise ConfigError(
            f"{host!r} is not a host; write a name, an address, or the URL that `udpconf serve` prints."
        )


def parse_port_range(text: str) -> PortRange:
    """Read ``5556-5655`` or a single ``5556``.

    Raises:
        ConfigError: it is not a range of UDP ports, low end first.
    """
    low_text, dash, high_text = text.strip().partition("-")
    low = check_port(_number(low_text, "the first port of the range"))
    high = check_port(_number(high_text, "the last port of the range")) if dash else low
    if low > high:
        raise ConfigError(f"The port range {text} runs backwards; write {high}-{low}.")
    return PortRange(low, high)


def _number(text: str, what: str) -> int:
    text = text.strip()
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise ConfigError(f"{text!r} is not a number ({what}); a UDP port is 1 to 65535.")
    return int(text)


def check_port(port: int) -> int:
    """Return the port.

    Raises:
        ConfigError: it is not 1..65535.
    """
    if not 1 <= port <= 65535:
        raise ConfigError(f"{port} is not a UDP port; choose one from 1 to 65535.")
    return port


def check_passphrase(passphrase: str) -> str:
    """Return the passphrase.

    Raises:
        ConfigError: it is empty, too long, or holds control characters (a binary file, or two lines).
    """
    if not passphrase.strip():
        raise ConfigError("The passphrase is empty; leave it out, or write at least one word.")
    try:
        length = len(passphrase.encode())
    except UnicodeEncodeError:
        raise ConfigError("The passphrase is not valid text; it must be UTF-8.") from None
    if length > PASSPHRASE_MAX_BYTES:
        raise ConfigError(f"The passphrase is longer than {PASSPHRASE_MAX_BYTES} bytes; use a shorter one.")
    if any(ord(character) < 32 or ord(character) == 127 for character in passphrase):
        raise ConfigError("The passphrase holds a control character or a second line; write it on one line.")
    return passphrase


def read_passphrase_file(path: Path) -> str:
    """Return the one line of text the file holds, without its line end.

    Raises:
        ConfigError: the file cannot be read or does not hold one line of text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(PASSPHRASE_MAX_BYTES + 3)
        text = data.decode()
    except OSError as error:
        raise ConfigError(f"The passphrase file {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"The passphrase file {path} is not UTF-8 text; it must hold the passphrase on one line."
        ) from error
    return check_passphrase(text.removesuffix("\n").removesuffix("\r"))


def check_audio_channels(channels: int) -> None:
    """Accept mono and stereo.

    Raises:
        ConfigError: otherwise.
    """
    if channels not in (1, 2):
        raise ConfigError(f"Sound cannot be sent in {channels} channels; choose 1, or 2 for stereo.")


def check_audio_frame_ms(frame_ms: int) -> None:
    """Accept 5, 10 and 20 ms of sound a packet.

    Raises:
        ConfigError: otherwise.
    """
    if frame_ms not in (5, 10, 20):
        raise ConfigError(
            f"Sound cannot be sent in frames of {frame_ms} ms; choose 5, 10 or 20 (default 10)."
        )


def check_quality(quality: int, min_quality: int) -> None:
    """Accept JPEG qualities 1..100, the lower limit not above the upper one.

    Raises:
        ConfigError: otherwise.
    """
    if not QUALITY_MIN <= min_quality <= quality <= QUALITY_MAX:
        raise ConfigError(
            f"quality {quality} and min_quality {min_quality} do not fit: "
            f"{QUALITY_MIN} <= min_quality <= quality <= {QUALITY_MAX}."
        )


def check_bitrate_kbps(bitrate_kbps: int) -> int:
    """Return the ceiling in kbit/s.

    Raises:
        ConfigError: it is below what one small picture a second needs, or absurd.
    """
    if not BITRATE_MIN_KBPS <= bitrate_kbps <= BITRATE_MAX_KBPS:
        raise ConfigError(
            f"{bitrate_kbps} kbit/s is not a usable ceiling; choose {BITRATE_MIN_KBPS} or more (default 4000)."
        )
    return bitrate_kbps


def check_latency_ms(latency_ms: float | None) -> float | None:
    """Return the latency in milliseconds; None means as early as the path allows.

    Raises:
        ConfigError: it is negative or longer than ten seconds.
    """
    if latency_ms is not None and not 0 <= latency_ms <= LATENCY_MAX_MS:
        raise ConfigError(f"{latency_ms} ms is not a usable latency; choose 0 to {LATENCY_MAX_MS}.")
    return latency_ms
