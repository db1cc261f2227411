"""Where the proxy listens and where it leads to."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from udpconf import config

# What Linux takes 0.0.0.0 and :: for where one sends.
LOOPBACK = {4: "127.0.0.1", 6: "::1"}


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


def leads_back(listen_host: str, to_host: str) -> bool:
    """Whether what is sent to the one host comes in where somebody listens on the other, the ports being the same.

    Raises:
        socket.gaierror: one of them has no address.
    """
    here, there = _address(listen_host), _address(to_host)
    if there.is_unspecified:
        there = ip_address(LOOPBACK[there.version])
    takes_all = here.is_unspecified and here.version in (6, there.version)  # :: takes IPv4 in as well
    return here == there or (takes_all and _is_of_this_machine(there))


def _address(host: str) -> IPv4Address | IPv6Address:
    from udpconf.emulation.proxy import resolve

    address = ip_address(resolve(host, 0)[1][0])
    return getattr(address, "ipv4_mapped", None) or address


def _is_of_this_machine(address: IPv4Address | IPv6Address) -> bool:
    """Only one's own address can be bound to, and binding sends nothing."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
        return True
