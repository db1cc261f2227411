"""UDPCONF_FAIL_ON_SKIP=1 turns a skipped test into a failure: what CI does not run, it does not know."""

import os
import signal

import pytest

not_run: list[str] = []


def pytest_sessionstart() -> None:
    # Under nohup, or in a script's background, the tests would ignore them, and so would each program that is started to see it
    # end by that signal.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped or hasattr(report, "wasxfail"):
        not_run.append(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        not_run.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not_run and os.environ.get("UDPCONF_FAIL_ON_SKIP") == "1" and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not_run and os.environ.get("UDPCONF_FAIL_ON_SKIP") == "1":
        terminalreporter.write_line(
            f"UDPCONF_FAIL_ON_SKIP is set and {len(not_run)} tests were skipped or expected to fail, "
            f"which counts as a failure: {', '.join(not_run)}",
            red=True,
        )
