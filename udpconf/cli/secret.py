"""Where the room's secret comes from. No flag takes it: command lines are read by everybody (``ps``) and kept (history)."""

import getpass
import os
import sys
from pathlib import Path

from udpconf.config import check_passphrase, read_passphrase_file
from udpconf.errors import ConfigError

VARIABLE = "UDPCONF_PASSPHRASE"


def given_secret(passphrase_file: Path | None, from_url: str | None = None) -> str | None:
    """The secret of the URL, else of the file, else of UDPCONF_PASSPHRASE, else None.

    Raises:
        ConfigError: the file cannot be read, or what it holds is no passphrase.
    """
    if from_url is not None:
        return from_url
    if passphrase_file is not None:
        return read_passphrase_file(passphrase_file)
    variable = os.environ.get(VARIABLE)
    return check_passphrase(variable) if variable else None


def secret_for_sending(passphrase_file: Path | None, from_url: str | None, *, open_room: bool) -> str | None:
    """The secret to join with: given, or asked for at a terminal. None joins an open room, which must be said.

    Raises:
        ConfigError: there is none, or one is given although the room is said to be open.
    """
    secret = given_secret(passphrase_file, from_url)
    if open_room:
        if secret is not None:
            raise ConfigError("--open and a passphrase exclude each other; leave one of them out.")
        return None
    if secret is not None:
        return secret
    if sys.stdin.isatty() and sys.stderr.isatty():
        return check_passphrase(getpass.getpass("Passphrase of the server: "))
    raise ConfigError(
        "No passphrase was given. Use the whole URL that `udpconf serve` printed, in quotes, or set UDPCONF_PASSPHRASE, "
        "or write the passphrase into a file for --passphrase-file; --open joins a server that was started with --open."
    )


def secret_for_serving(passphrase_file: Path | None, *, open_room: bool) -> str | None:
    """The secret the operator set, or None: then the server makes a key, or has an open room.

    Raises:
        ConfigError: one is given although the room is to be open.
    """
    secret = given_secret(passphrase_file)
    if open_room and secret is not None:
        raise ConfigError("--open and a passphrase exclude each other; leave one of them out.")
    return secret
