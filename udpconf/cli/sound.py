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


def tell_speaker(server: "Server", console: Console) -> None:
    """Say what sound is played on, and the latency that its driver gave."""
    speaker = server.speaker
    if speaker is not None:
        console.event(
            "speaker",
            f"Sound is played on '{speaker.name}', which adds {speaker.latency_ms:.0f} ms.",
            name=speaker.name,
            latency_ms=round(speaker.latency_ms, 1),
        )


def next_speaker(server: "Server", console: Console) -> None:
    """Play on the next one that opens, in the order of ``udpconf devices``; without another nothing changes."""
    from udpconf.media.audio_devices import list_speakers

    now = server.speaker
    try:
        names = list(dict.fromkeys(device.name for device in list_speakers()))
    except MissingDependencyError as error:
        console.say(str(error))
        return
    place = names.index(now.name) + 1 if now is not None and now.name in names else 0
    for name in names[place:] + names[:place]:
        if now is not None and name == now.name:
            continue
        try:
            server.start_speaker(name)
        except DeviceError as error:
            console.say(str(error))
        else:
            tell_speaker(server, console)
            return
    console.say("There is no other speaker.")
