"""What one run shall do: told to its two processes as a JSON file."""

import json
from pathlib import Path
from typing import NamedTuple

from udpconf.config import check_bitrate_kbps, check_latency_ms
from udpconf.errors import ConfigError

FPS = 30
WIDTH, HEIGHT = 640, 360
PORT = 5000
PASSPHRASE = "a key for the lab only"
# Connecting, the first decode, cold caches: shown in no figure. The scenario's clock has begun by then.
WARM_UP_S = 1.5
# What is under way when the last picture was sent may still arrive: the longest queue of a shipped scenario, 1.5 s, and
# the longest way. TCP's backlog may take longer, see baseline_tcp.py.
DRAIN_S = 2.0


class Setting(NamedTuple):
    """How the tested programs are set; the TCP way knows kbps alone."""

    name: str = "default"
    kbps: int = 3000  # of the JPEGs; picks their quality
    ceiling_kbps: int = 8000  # udpconf's max_bitrate_kbps
    latency_ms: int | None = None
    sound: bool = True
    recovery: bool = True


class Plan(NamedTuple):
    """One run, for its two processes."""

    program: str
    pictures: str  # path of an .npy, uint8[n, h, w, 3]
    folder: str  # where each process leaves what it saw
    seconds: float
    quality: int  # JPEG
    ceiling_kbps: int
    latency_ms: int | None
    sound: bool
    sample_every: int  # of the frames shown, how many are kept to look at
    recovery: bool = True

    @property
    def frames(self) -> int:
        """Pictures that the camera takes, warm-up included."""
        return round((WARM_UP_S + self.seconds) * FPS)


def parse_setting(text: str) -> Setting:
    """``calm:latency_ms=150,kbps=2000`` -> Setting. Raises ValueError with a sentence."""
    name, _, rest = text.partition(":")
    if not name or "=" in name:
        raise ValueError(f"The setting {text!r} has no name; write it as NAME:key=value,key=value.")
    setting = Setting(name)
    for pair in rest.split(",") if rest else []:
        key, _, value = pair.partition("=")
        if key in ("sound", "recovery") and value in ("on", "off"):
            setting = Setting(**{**setting._asdict(), key: value == "on"})
        elif key in ("kbps", "ceiling_kbps", "latency_ms") and value.isdecimal() and int(value) > 0:
            setting = Setting(**{**setting._asdict(), key: int(value)})
        else:
            raise ValueError(
                f"The setting {name!r} has {pair!r}; there are kbps, ceiling_kbps and latency_ms with a whole "
                "number, and sound and recovery, each on or off."
            )
    if setting.kbps > 100_000:
        raise ValueError(f"The setting {name!r} asks for {setting.kbps} kbit/s; 100000 is the most.")
    try:
        check_bitrate_kbps(setting.ceiling_kbps)
        check_latency_ms(setting.latency_ms)
    except ConfigError as error:
        raise ValueError(f"The setting {name!r} is not possible: {error}") from error
    return setting


def save(plan: Plan, path: Path) -> None:
    path.write_text(json.dumps(plan._asdict()))


def load(path: Path) -> Plan:
    return Plan(**json.loads(path.read_text()))
