"""What can go wrong, as a small tree.

    UdpconfError
        ConfigError              a setting, a file or a secret is wrong            exit code 3
        DeviceError              a camera, screen, microphone or speaker failed    exit code 4
        ConnectError             the server cannot be reached or does not want us  exit code 5 or 6
        PortInUseError           somebody else has the port                        exit code 7
        MissingDependencyError   an optional package is not installed              exit code 8
        LocalProtocolError       the caller misused an object of this package      exit code 1

Every message says what happened, why we think so, and what to do. Bytes from the network never raise any of these:
they are counted by reason and dropped (see ``wire.MalformedPacket``, which never leaves the core).
"""

import shlex
import sys
from typing import Literal

ConnectReason = Literal["unreachable", "refused", "full", "version"]

# For messages that say how to install something. This Python's own: a bare `pip` may belong to another one, into whose
# packages the command would then put what this one misses.
PIP = f"{shlex.quote(sys.executable)} -m pip"


class UdpconfError(Exception):
    """The root of everything this package raises on purpose."""

    exit_code = 1


class ConfigError(UdpconfError):
    """A setting, a file or a secret is missing or wrong."""

    exit_code = 3


class DeviceError(UdpconfError):
    """A camera, screen, microphone or speaker is missing, busy or refused to work."""

    exit_code = 4


class ConnectError(UdpconfError):
    """No session with the server came about.

    Attributes:
        reason: ``unreachable`` (nobody answered), ``refused`` (wrong passphrase), ``full`` (no place left) or
            ``version`` (the two programs are too far apart).
    """

    def __init__(self, message: str, reason: ConnectReason) -> None:
        super().__init__(message)
        self.reason: ConnectReason = reason
        self.exit_code = 5 if reason == "unreachable" else 6


class PortInUseError(UdpconfError):
    """The UDP port to listen on belongs to another program."""

    exit_code = 7


class MissingDependencyError(UdpconfError):
    """An optional package is not installed; the message names the command that installs it."""

    exit_code = 8


class LocalProtocolError(UdpconfError):
    """The caller misused an object of this package, for example by sending on a closed session."""
