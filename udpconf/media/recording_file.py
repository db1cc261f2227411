"""Where recordings lie: names that only the server makes, files that only it creates, and a disk that stays usable.

A client's name is a label: what reaches the file system is at most 24 of [a-z0-9_-] behind a time and 8 hex digits, so
no name can leave the directory, hide, collide with a device or turn a terminal's text around.
"""

import os
import re
import shutil
import tempfile
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from udpconf.errors import ConfigError
from udpconf.limits import RECORDER_RESERVE_BYTES

SLUG_MAX = 24
# What stands for a name that has no letter or digit of ASCII.
SLUG_OF_NOTHING = "client"
# Files of one series in one directory; 10 minutes each make ten weeks.
SERIES_MAX = 10_000


def slug(name: str) -> str:
    """What a name leaves in a file name: 1 to 24 characters of [a-z0-9_-], whatever the name is."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_]+", "-", plain).strip("-")[:SLUG_MAX].strip("-") or SLUG_OF_NOTHING


def recording_name(started_wall_us: int, client_id: str, name: str, number: int) -> str:
    """The name of a file of a series.

    Args:
        started_wall_us: when the series began, on this machine's clock, microseconds since 1970.
        client_id: its first 8 hex digits are used; anything else in it is left out.
        name: the client's, any text.
        number: 1 for the first file, whose name does not say so.
    """
    started = datetime.fromtimestamp(started_wall_us // 1_000_000, UTC)
    hexadecimal = re.sub(r"[^0-9a-f]", "", client_id)[:8].ljust(8, "0")
    suffix = f"-{number}" if number > 1 else ""
    return f"{started:%Y%m%dT%H%M%SZ}-{hexadecimal}-{slug(name)}{suffix}.mkv"


def create_exclusively(path: Path) -> BinaryIO:
    """A new file that nobody else may read; never an existing one, never through a link.

    Raises:
        FileExistsError: the name is taken, if only by a link.
        OSError: the directory is gone, full or not writable.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    # Unbuffered: what the muxer flushes is with the operating system, and survives us.
    return os.fdopen(os.open(path, flags, 0o600), "w+b", buffering=0)


def prepare_directory(directory: Path, reserve_bytes: int = RECORDER_RESERVE_BYTES) -> None:
    """Makes the directory if need be and finds out whether recording there can work.

    Raises:
        ConfigError: it cannot be written to, or its disk is nearly full.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
        free_bytes = shutil.disk_usage(directory).free
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigError(
            f"Recordings cannot be written to {directory}: a file is in the way. Name a directory with --record."
        ) from error
    except OSError as error:
        raise ConfigError(
            f"Recordings cannot be written to {directory} ({error.strerror or error}). "
            "Make the directory writable or name another one with --record."
        ) from error
    if free_bytes < reserve_bytes:
        raise ConfigError(disk_full(directory, free_bytes, reserve_bytes))


def disk_full(directory: Path, free_bytes: int, reserve_bytes: int) -> str:
    """The sentence for a disk that has reached its reserve."""
    return (
        f"The disk of {directory} has {free_bytes >> 20} MiB left, and {reserve_bytes >> 20} MiB are kept free. "
        "Delete old recordings or name another directory with --record."
    )
