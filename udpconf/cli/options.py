"""Flags that more than one verb has. Every flag also reads UDPCONF_<FLAG>, the same name for every verb."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from udpconf import __version__, config
from udpconf.errors import ConfigError


def flag(*names: str, help: str, **more: Any) -> Any:  # noqa: A002  (typer's word)
    """A typer option that also reads ``UDPCONF_<FLAG>``, named after its first long form."""
    long = next(name for name in names if name.startswith("--")).split("/")[0]
    return typer.Option(*names, envvar="UDPCONF_" + long[2:].upper().replace("-", "_"), help=help, **more)


def from_text(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    """The ``parser`` of a typer option whose text is read by this function.

    Of what it may raise, ValueError has a sentence without its period, ConfigError a whole one. Typer would keep neither.
    """

    def convert(value: Any) -> Any:
        try:
            return parse(value) if isinstance(value, str) else value  # typer passes defaults through here too
        except ConfigError as error:
            raise typer.BadParameter(str(error)) from None
        except ValueError as error:
            raise typer.BadParameter(f"{error}.") from None

    return convert


def source_of(context: typer.Context, parameter: str) -> str:
    """``COMMANDLINE``, ``ENVIRONMENT`` or ``DEFAULT``: where a parameter of this name got its value from."""
    source = context.get_parameter_source(parameter)
    return "" if source is None else source.name


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"udpconf {__version__}")
        raise typer.Exit


JsonLines = Annotated[bool, flag("--json", help="One JSON object a line on stdout.")]
Quiet = Annotated[bool, flag("--quiet", "-q", help="Say nothing but errors.")]
Verbose = Annotated[
    int, flag("--verbose", "-v", count=True, show_default=False, help="Say more; -vv for debugging.")
]
# No environment variable: a version is asked for, not configured.
Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
]

Port = Annotated[int, flag("--port", min=0, max=65535, help="UDP port of the server's main socket.")]
AudioPorts = Annotated[
    config.PortRange,
    flag(
        "--audio-ports",
        metavar="LOW-HIGH",
        parser=from_text(config.parse_port_range),
        show_default=str(config.DEFAULT_AUDIO_PORTS),
        help="Range of UDP ports; each sender's sound gets one of its own.",
    ),
]
PassphraseFile = Annotated[
    Path | None,
    flag(
        "--passphrase-file",
        help="File with the passphrase on one line. Or set UDPCONF_PASSPHRASE.",
        show_default=False,
    ),
]
LatencyMs = Annotated[
    float | None,
    flag(
        "--latency-ms",
        min=0,
        max=config.LATENCY_MAX_MS,
        show_default="as early as the path allows",
        help="Show each frame so many milliseconds after its capture: the more, the later a datagram may come. "
        "The larger of both sides counts.",
    ),
]
MuxAudio = Annotated[
    bool,
    flag("--mux-audio", help="Send sound through the main port, for firewalls that let only one through."),
]
Display = Annotated[
    bool | None,
    flag("--display/--no-display", help="Show a window.", show_default="if there is a display"),
]
OpenRoom = Annotated[
    bool, flag("--open", help="No secret: whoever reaches the port may send. Say it on both sides.")
]
SpeakerName = Annotated[
    str | None,
    flag(
        "--speaker",
        metavar="NAME|INDEX|none",
        help="Where sound is played (see `udpconf devices`).",
        show_default="the system's",
    ),
]
DEFAULT_SEED = "1"
Seed = Annotated[
    str, flag("--seed", help="The same seed, the same luck for the n-th datagram of each direction.")
]
