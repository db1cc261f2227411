"""Whatever ends netem/lab-net, nothing stays: no namespace, no process, no device."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.loopback.lab_net import (
    LAB_NET,
    PYTHON,
    UNAVAILABLE,
    alive,
    devices_of,
    lab,
    lab_works,
    names_of,
)
from tests.loopback.waiting import wait_until
from udpconf.emulation import namespaces, tun_lab

# Stands in the place of iproute2's command and does what it does; before its N-th run it sends the lab a signal.
IP = """\
#!/bin/sh
PATH='{path}'
echo run >> {folder}/runs
runs=$(wc -l < {folder}/runs)
if [ $runs = {number} ] || [ {number} = every ]; then kill -s {signal} -- {whom}$PPID; fi
ip "$@"
code=$?
if [ $runs = {number} ]; then touch {folder}/done; fi
exit $code
"""


def with_signal_at(folder: Path, number: str, name: str, whom: str = "") -> dict[str, str]:
    """An environment in which the lab gets a signal at its N-th or at every use of `ip`; whom "-": its whole group."""
    path = os.environ["PATH"]
    script = folder / "ip"
    script.write_text(IP.format(path=path, folder=folder, number=number, signal=name, whom=whom))
    script.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{path}"}


@contextmanager
def running_lab(b: str) -> "Iterator[subprocess.Popen[str]]":
    """A lab whose B is this shell script and whose A only waits."""
    command = [PYTHON, str(LAB_NET), "--", "sleep", "100", "--", "sh", "-c", b]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        yield process


def as_process(ready: Path) -> str:
    """Shell words that write the shell's process number into a file and then only wait."""
    return f"echo $$ > {ready}.new; mv {ready}.new {ready}; exec sleep 100"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_after_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    if not lab_works():
        return
    ready = tmp_path / "grandchild"
    # B's child outlives B and ignores SIGTERM: it must go too.
    with running_lab(f"(trap '' TERM; sh -c '{as_process(ready)}') & wait") as process:
        wait_until(ready.exists)
        assert len(names_of(process.pid)) == 2
        process.send_signal(number)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "Traceback" not in stderr
    assert names_of(process.pid) == []
    grandchild = int(ready.read_text())
    wait_until(lambda: not alive(grandchild))


def test_the_next_run_clears_what_a_killed_one_left(tmp_path: Path) -> None:
    if not lab_works():
        return
    ready = tmp_path / "child"
    with running_lab(as_process(ready)) as process:
        wait_until(ready.exists)
        assert len(names_of(process.pid)) == 2
        process.kill()
    done = lab("-q", "--", "true", "--", "true")
    assert done.returncode == 0, done.stderr
    assert names_of(process.pid) == []
    child = int(ready.read_text())
    wait_until(lambda: not alive(child))


def test_a_running_lab_is_left_alone_by_another_one(tmp_path: Path) -> None:
    if not lab_works():
        return
    ready = tmp_path / "ready"
    with running_lab(as_process(ready)) as process:
        wait_until(ready.exists)
        assert lab("-q", "--", "true", "--", "true").returncode == 0
        assert len(names_of(process.pid)) == 2
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 143


@pytest.mark.parametrize("number", ["1", "2", "3", "4", "5", "6", "every"])
def test_nothing_is_left_after_ctrl_c_while_the_network_is_built(number: str, tmp_path: Path) -> None:
    """A terminal sends it to all processes of the group, so also to an `ip` that is at work."""
    if not lab_works():
        return
    environment = with_signal_at(tmp_path, number, "INT", whom="-")
    command = [PYTHON, str(LAB_NET), "--", "true", "--", "sleep", "100"]
    with subprocess.Popen(
        command, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True
    ) as process:
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert names_of(process.pid) == []
    assert devices_of(process.pid) == []


@pytest.mark.parametrize("number", ["1", "2", "3", "4", "5", "6"])
def test_the_next_run_clears_what_one_left_that_was_killed_while_it_built_the_network(
    number: str, tmp_path: Path
) -> None:
    if not lab_works():
        return
    environment = with_signal_at(tmp_path, number, "KILL")
    with subprocess.Popen(
        [PYTHON, str(LAB_NET), "--", "true", "--", "sleep", "100"], env=environment
    ) as process:
        process.wait(timeout=30)
    assert process.returncode == -signal.SIGKILL
    wait_until((tmp_path / "done").exists)
    assert names_of(process.pid) != []
    assert lab("-q", "--", "true", "--", "true").returncode == 0
    assert names_of(process.pid) == []
    assert devices_of(process.pid) == []


def test_without_a_tun_device_it_says_so_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not lab_works():
        return
    monkeypatch.setattr(namespaces, "TUN_MAKER", Path("/dev/net/no-tun"))
    assert tun_lab.main(["--", "true", "--", "true"]) == UNAVAILABLE
    assert "/dev/net/no-tun is missing" in capsys.readouterr().err
    monkeypatch.setattr(namespaces, "TUN_MAKER", Path("/dev/null"))
    assert tun_lab.main(["--", "true", "--", "true"]) == UNAVAILABLE
    assert "lab-net: cannot make a TUN device" in capsys.readouterr().err
    assert names_of(os.getpid()) == []
