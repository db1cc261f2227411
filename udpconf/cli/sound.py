"""The loudspeaker of a verb that receives: the one that was named must be there, the system's own may be missing."""

from typing import TYPE_CHECKING

from udpconf.cli.console import Console
from udpconf.errors import DeviceError, MissingDependencyError

if TYPE_CHECKING:
    from udpconf.app.server import Server


def open_speaker(server: "Server", name: str | None, console: Console) -> None:
    """Play the server's sound on the speaker of this name or number; None: the system's; ``none``: on no one.

    Raises:
        DeviceError: the speaker that was named is not there, or does not open.
        MissingDependencyError: one was named, and PyAudio is not installed.
    """
    if name is not None and name.lower() == "none":
        return
    try:
        server.start_speaker(name)
    except (DeviceError, MissingDependencyError) as error:
        if name is not None:
            raise
        console.say(f"No sound is played: {error}")
