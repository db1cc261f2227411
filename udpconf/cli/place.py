"""Where the proxy listens and where it leads to."""

from typing import NamedTuple

from udpconf import config


class Place(NamedTuple):
    """An address or a name, and a UDP port; 0 is any free one where one listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_place(text: str) -> Place:
    """Read ``host:port``, with port 0 too.

    Raises:
        ConfigError: it is none.
    """
    if text.endswith(":0"):
        return Place(config.parse_target(text[:-2]).host, 0)
    target = config.parse_target(text)
    return Place(target.host, target.port)
