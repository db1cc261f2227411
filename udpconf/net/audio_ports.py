"""The range of UDP ports from which each client gets one of its own for sound."""

from udpconf.errors import ConfigError, PortInUseError
from udpconf.net.udp_socket import UdpSocket


class AudioPorts:
    """Opens the next free port of a range, skipping those that others have. Used by whoever drives the core only."""

    def __init__(self, host: str, first: int, last: int) -> None:
        self._host = host
        self._range = range(first, last + 1)
        self._next = 0

    def open(self) -> UdpSocket | None:
        """A socket on a free port, or None when the range is used up.

        Ports are taken in turn, so that the late packets of a client that left do not meet the next one.
        """
        for _ in self._range:
            port = self._range[self._next]
            self._next = (self._next + 1) % len(self._range)
            try:
                return UdpSocket.listen(self._host, port, voice=True)
            except (PortInUseError, ConfigError, OSError):  # taken, reserved, or no descriptors left
                continue
        return None
