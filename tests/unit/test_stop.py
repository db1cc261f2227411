"""A stop that was asked for ends the program, also where Python loses the exception on its way."""

import signal
import sys
import weakref

import pytest

from udpconf.cli import main, stop
from udpconf.cli.console import Console
from udpconf.cli.live import LiveStatistics, Readout
from udpconf.cli.stop import StopRequested


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


def test_an_error_after_a_stop_was_asked_for_is_told_and_ends_with_the_code_of_the_stop(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(**_: object) -> None:
        """What threading.Condition.wait makes of an exception between two of its lines."""
        try:
            signal.raise_signal(signal.SIGINT)
        except StopRequested:
            raise RuntimeError("release unlocked lock") from None

    monkeypatch.setattr(main, "app", interrupted)
    assert main._run() == 130
    assert "release unlocked lock" in capsys.readouterr().err


def test_an_error_without_a_stop_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(main, "app", broken)
    assert main._run() == 1


def _nothing() -> Readout:
    return Readout((), "", {})
