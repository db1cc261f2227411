"""The command line: verbs, and how the program ends. Nothing heavy is imported before a verb needs it."""

import os
import sys
import threading

import typer

from udpconf.cli import demo, devices, doctor, proxy, send, serve
from udpconf.cli.console import Console
from udpconf.cli.options import JsonLines, Quiet, Verbose, Version
from udpconf.cli.stop import StopRequested, requested, stop_on_interrupt
from udpconf.errors import UdpconfError

app = typer.Typer(
    name="udpconf",
    help="Live video and sound over plain UDP that keeps its latency when the network loses packets.",
    epilog="Exit codes: 0 done, 1 unexpected, 2 usage, 3 configuration, 4 device, 5 unreachable, 6 refused, "
    "7 port in use, 8 optional package missing, 130 Ctrl-C.",
    no_args_is_help=True,
    # Plain help: rich's panels cost 100 ms and do not copy well.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (serve.serve, send.send, devices.devices, doctor.doctor, demo.demo, proxy.proxy):
    app.command()(verb)


@app.callback()
def every_verb(
    context: typer.Context,
    json_lines: JsonLines = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    version: Version = False,
) -> None:
    # The docstring would replace the help text above.
    context.obj.configure(json_lines=json_lines, quiet=quiet, verbose=verbose)


def main() -> None:
    """Run the program; every error is one sentence on stderr and its documented exit code."""
    exit_code = _run()
    asked = requested()
    # Ctrl-C is the reason whatever it has led to; after SIGTERM, whose code is 0, an error keeps its own.
    _end(exit_code if asked is None else asked.exit_code or exit_code)


def _run() -> int:
    console = Console()
    stop_on_interrupt()
    try:
        # Also through tools/demo and python -m, where it would be named after the interpreter.
        app(obj=console, prog_name="udpconf")
    except SystemExit as done:  # how typer ends
        return done.code if isinstance(done.code, int) else 0
    except StopRequested as stop:
        return stop.exit_code
    except UdpconfError as error:
        console.error(str(error), error.exit_code)
        return error.exit_code
    except Exception as error:  # noqa: BLE001  (the last stop: said in a sentence, shown in full under -vv)
        console.error(
            f"Unexpected {type(error).__name__}: {error}. That is a mistake in udpconf; the same command with -vv "
            "shows where.",
            1,
        )
        return 1
    return 0


def _end(exit_code: int) -> None:
    """Leave with the code; at once if a driver holds a thread of ours.

    A daemon thread that comes back from a call while Python takes itself apart is ended by unwinding its stack, and
    C++ libraries (OpenCV, Qt) answer that with SIGABRT. All sessions and files are closed here.
    """
    if any(thread.daemon for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
    sys.exit(exit_code)
