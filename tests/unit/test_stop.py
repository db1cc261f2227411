"""A stop that was asked for ends the program, also where Python loses the exception on its way."""

import contextlib
import signal
import sys
import weakref

import pytest

from udpconf.cli import main, stop
from udpconf.cli.console import Console
from udpconf.cli.live import LiveStatistics, Readout
from udpconf.cli.stop import StopRequested
from udpconf.errors import ConfigError


@pytest.fixture(autouse=True)
def _own_handlers(monkeypatch: pytest.MonkeyPatch) -> object:
    """The process is the tests': it gets its handlers and its memory back."""
    monkeypatch.setattr(stop, "_requested", None)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_stop_that_is_lost_while_an_object_is_finalized_is_raised_at_the_next_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop.stop_on_interrupt()
    lost: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: lost.append(unraisable.exc_value))
    console = Console()
    console.configure(json_lines=True, quiet=False, verbose=0)

    class Thing:
        pass

    thing = Thing()
    watch = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
    del thing  # Python reports and drops what is raised in here

    assert watch() is None
    assert [type(one) for one in lost] == [StopRequested]
    with pytest.raises(StopRequested) as caught, LiveStatistics(console, "", (), _nothing) as live:
        live.tick()
    assert (caught.value.reason, caught.value.exit_code) == ("Ctrl-C", 130)


@pytest.mark.parametrize(
    ("number", "error", "exit_code"),
    [
        (signal.SIGINT, RuntimeError("release unlocked lock"), 130),
        (signal.SIGINT, ConfigError("the disk is full"), 130),
        (signal.SIGINT, None, 130),
        (signal.SIGTERM, RuntimeError("release unlocked lock"), 1),
        (signal.SIGTERM, ConfigError("the disk is full"), 3),
        (signal.SIGTERM, None, 0),
        (None, RuntimeError("a mistake"), 1),
        (None, ConfigError("the disk is full"), 3),
        (None, None, 0),
    ],
)
def test_the_exit_code_is_that_of_ctrl_c_or_of_the_error_that_came_of_it(
    number: signal.Signals | None,
    error: Exception | None,
    exit_code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(**_: object) -> None:
        """The stop goes astray, and leaves this."""
        stop.stop_on_terminate()
        if number is not None:
            with contextlib.suppress(StopRequested):
                signal.raise_signal(number)
        if error is not None:
            raise error

    codes: list[int] = []
    monkeypatch.setattr(main, "app", interrupted)
    monkeypatch.setattr(main, "_end", codes.append)
    main.main()
    assert codes == [exit_code]
    assert (str(error) if error else "") in capsys.readouterr().err


def _nothing() -> Readout:
    return Readout((), "", {})
