"""Where the demo's server is, and the bad network in front of it."""

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

from udpconf.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from udpconf.emulation.scenario import Scenario

# The server listens on one loopback address, the bad network on another, so that both can have the same port numbers: a
# sender is told the port of its sound by number.
SERVER_HOST = "127.0.0.1"
NETWORK_HOST = "127.0.0.2"


def open_network(stack: ExitStack, scenario: "Scenario | None", seed: str, ports: "Iterable[int]") -> str:
    """The host to send to: the server's own, or that of a bad network in front of it, which ends with the stack.

    Raises:
        ConfigError: this machine lacks the network's address.
    """
    if scenario is None:
        return SERVER_HOST
    from udpconf.emulation.proxy import UdpProxy

    targets = {port: (SERVER_HOST, port) for port in ports}
    try:
        stack.enter_context(UdpProxy(NETWORK_HOST, targets, scenario, seed=seed))
    except OSError as error:
        raise ConfigError(
            f"The bad network does not start: {error}. It needs the loopback address {NETWORK_HOST}, which Linux has."
        ) from error
    return NETWORK_HOST


def free_ports(count: int) -> tuple[int, int]:
    """The first and the last of so many UDP ports in a row that are free on the server's address.

    Raises:
        ConfigError: none were found.
    """
    for _ in range(100):
        with ExitStack() as stack:
            try:
                first = stack.enter_context(_bound(SERVER_HOST, 0)).getsockname()[1]
                if first + count > 65_536:
                    continue
                for port in range(first + 1, first + count):
                    stack.enter_context(_bound(SERVER_HOST, port))
            except OSError:
                continue
            return first, first + count - 1
    raise ConfigError(f"No {count} free UDP ports in a row were found on this machine. Close some programs.")


def _bound(host: str, port: int) -> socket.socket:
    bare = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        bare.bind((host, port))
    except OSError:
        bare.close()
        raise
    return bare
