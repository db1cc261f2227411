"""Which flags of ``send`` go together: one source, and nothing that would do nothing beside it."""

import typer

from udpconf.cli.options import source_of
from udpconf.cli.sources import Picture
from udpconf.errors import ConfigError


def chosen_picture(context: typer.Context) -> Picture:
    """The one source that was named; what the command line names counts before what the environment does.

    Raises:
        typer.BadParameter: several were named.
    """
    named = [
        (picture, source)
        for picture in Picture
        if (source := source_of(context, picture.value)) in ("COMMANDLINE", "ENVIRONMENT")
        and context.params[picture.value] is not False
    ]
    chosen = [picture for picture, source in named if source == "COMMANDLINE"] or [
        picture for picture, _ in named
    ]
    if len(chosen) > 1:
        flags = ", ".join("--" + picture.value.replace("_", "-") for picture in chosen)
        raise typer.BadParameter(f"{flags} exclude each other; name one source.")
    return chosen[0] if chosen else Picture.CAMERA


def refuse_idle_flags(context: typer.Context, picture: Picture) -> None:
    """A flag that would do nothing is a mistake on a command line; in the environment it waits for its time.

    Raises:
        typer.BadParameter: there is one.
    """
    for parameter, needed in (("loop", Picture.FILE), ("tone", Picture.PATTERN)):
        if picture is not needed and source_of(context, parameter) == "COMMANDLINE":
            needed_flag = needed.value.replace("_", "-")
            raise typer.BadParameter(
                f"--{parameter} does nothing without --{needed_flag}; add it, or leave it out."
            )
    mic = context.params["mic"]
    for parameter in ("stereo", "dtx"):
        if mic is not None and mic.lower() == "none" and source_of(context, parameter) == "COMMANDLINE":
            raise typer.BadParameter(f"--{parameter} does nothing with --mic none; leave one of them out.")
    preview = context.params["preview"] and source_of(context, "preview") == "COMMANDLINE"
    if picture is Picture.NONE and preview:
        raise typer.BadParameter("--preview has nothing to show with --no-video; leave one of them out.")


def cleans_voice(context: typer.Context, picture: Picture) -> bool:
    """Whether --voice was said and there is a microphone; what a file or a pattern brings along is no voice.

    Raises:
        typer.BadParameter: it was said on the command line, and there is none; or it is to be cleaned in stereo.
    """
    mic: str | None = context.params["mic"]
    microphone = picture not in (Picture.FILE, Picture.PATTERN) if mic is None else mic.lower() != "none"
    if context.params["voice"] and not microphone and source_of(context, "voice") == "COMMANDLINE":
        raise typer.BadParameter("--voice does nothing without a microphone; add --mic, or leave it out.")
    voice = microphone and bool(context.params["voice"])
    if voice and context.params["stereo"]:
        raise typer.BadParameter("--voice is for one channel and --stereo makes two; leave one of them out.")
    return voice


def lowest_quality(context: typer.Context, quality: int, min_quality: int) -> int:
    """The lower limit: the default one makes way for a --quality below it, one that was named does not.

    Raises:
        ConfigError: the one that was named is above it.
    """
    if quality >= min_quality:
        return min_quality
    if source_of(context, "min_quality") in ("COMMANDLINE", "ENVIRONMENT"):
        raise ConfigError(
            f"--quality {quality} is below --min-quality {min_quality}; raise the one or lower the other."
        )
    return quality
