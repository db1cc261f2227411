"""netem/lab-net with real namespaces. It needs root: where there is none, each test asserts that it says so."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from udpconf.emulation import namespaces, tun_lab
from udpconf.emulation.link import Fate, Link, LinkConditions
from udpconf.emulation.loss import loss_model

LAB_NET = Path(__file__).parent.parent.parent / "netem" / "lab-net"
PYTHON = sys.executable
UNAVAILABLE = 3
# The receiving side of every test below: prints what it gets, in order, until SIGTERM.
RECEIVER = """
    import os, signal, socket, sys
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((os.environ["LAB_HERE"], 5000))
    while True:
        data, address = sock.recvfrom(2000)
        print(data.decode(), flush=True)
        sock.sendto(data, address)
"""


def lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PYTHON, str(LAB_NET), *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def python(code: str) -> list[str]:
    return [PYTHON, "-c", textwrap.dedent(code)]


@cache
def lab_works() -> bool:
    """Root on Linux with TUN. Anywhere else the lab must say what is missing and end with its code."""
    done = lab("-q", "--", "true", "--", "true")
    if done.returncode == UNAVAILABLE:
        assert done.stderr.startswith("lab-net: ")
        assert "Traceback" not in done.stderr
        return False
    assert done.returncode == 0, done.stderr
    return True


def names_of(pid: int) -> list[str]:
    if not namespaces.NAMES_SEEN_IN.exists():
        return []
    return [path.name for path in namespaces.NAMES_SEEN_IN.iterdir() if f"-{pid}-" in path.name]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_two_programs_talk_over_the_link_and_are_told_their_addresses() -> None:
    if not lab_works():
        return
    client = """
        import os, socket, time
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(0.2)
        answer = None
        while answer is None:
            start = time.monotonic()
            sock.sendto(b"hello", (os.environ["LAB_PEER"], 5000))
            try:
                answer = sock.recvfrom(2000)
            except TimeoutError:  # A is not listening yet
                pass
        assert answer == (b"hello", ("10.77.0.1", 5000))
        assert time.monotonic() - start >= 0.04
        assert os.environ["LAB_HERE"] == "10.77.0.2"
        with socket.create_server(("127.0.0.1", 0)) as server:  # the loopback device is up
            socket.create_connection(server.getsockname()).close()
        print("B is content")
    """
    done = lab("--delay", "20ms", "--", *python(RECEIVER), "--", *python(client))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "B is content"
    assert "B to A: " in done.stderr


def test_the_exit_code_is_that_of_b() -> None:
    if not lab_works():
        return
    assert lab("-q", "--", "true", "--", "sh", "-c", "sleep 0.1; exit 7").returncode == 7
    assert lab("-q", "--", "sleep", "60", "--", "sh", "-c", "kill -KILL $$").returncode == 137


def test_a_is_told_to_end_when_b_has_ended_and_may_still_say_goodbye(tmp_path: Path) -> None:
    if not lab_works():
        return
    ready = tmp_path / "ready"
    a = f"trap 'echo goodbye; exit 0' TERM; touch {ready}; while :; do sleep 0.05; done"
    done = lab("-q", "--", "sh", "-c", a, "--", "sh", "-c", f"while ! [ -e {ready} ]; do sleep 0.05; done")
    assert (done.returncode, done.stdout, done.stderr) == (0, "goodbye\n", "")


def test_b_goes_on_when_a_has_failed() -> None:
    if not lab_works():
        return
    done = lab("-q", "--", "sh", "-c", "exit 5", "--", "sh", "-c", "sleep 0.3; echo B went on")
    assert (done.returncode, done.stdout) == (0, "B went on\n")
    assert "A has ended with code 5" in done.stderr


def test_it_loses_the_packets_that_the_emulator_loses_with_the_same_seed_and_logs_each(
    tmp_path: Path,
) -> None:
    if not lab_works():
        return
    packets = 300
    client = f"""
        import os, socket, time
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        time.sleep(0.5)  # A is starting; every packet counts
        for number in range({packets}):
            sock.sendto(b"%d" % number, (os.environ["LAB_PEER"], 5000))
            time.sleep(0.0005)
        time.sleep(0.3)
    """
    log = tmp_path / "log.jsonl"
    arguments = ["--delay", "2ms", "--loss", "20%", "--burst", "3", "--loss-back", "0%", "--seed", "9"]
    done = lab(*arguments, "--log", str(log), "--", *python(RECEIVER), "--", *python(client))
    assert done.returncode == 0, done.stderr

    link: Link[int] = Link(LinkConditions(loss=loss_model(0.2, 3)), "9/up")
    fates = [link.send(0, number, 1).fate for number in range(packets)]
    passed = [number for number, fate in enumerate(fates) if fate == Fate.PASSED]
    assert [int(line) for line in done.stdout.split()] == passed

    records = [json.loads(line) for line in log.read_text().splitlines()]
    up = [record for record in records if record["direction"] == "up"]
    down = [record for record in records if record["direction"] == "down"]
    assert [record["fate"] for record in up] == [fate.value for fate in fates]
    assert [record["n"] for record in up] == list(range(packets))
    assert {record["size"] for record in up} <= {20 + 8 + digits for digits in (1, 2, 3)}
    assert all(record["due_us"] == record["sent_us"] + 2000 for record in up if record["fate"] == "passed")
    assert [record["fate"] for record in down] == ["passed"] * len(passed)


def test_nothing_but_the_programs_packets_passes(tmp_path: Path) -> None:
    """No neighbour discovery, no multicast reports: they would shift the luck of the tested packets."""
    if not lab_works():
        return
    log = tmp_path / "log.jsonl"
    done = lab("--log", str(log), "--", "sleep", "10", "--", "sleep", "1.5")
    assert done.returncode == 0
    assert log.read_text() == ""
    assert "B to A: 0 packets" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_after_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    if not lab_works():
        return
    ready = tmp_path / "grandchild"
    # B's child outlives B and ignores SIGTERM: it must go too.
    b = f"(trap '' TERM; sh -c 'echo $$ > {ready}.new; mv {ready}.new {ready}; exec sleep 100') & wait"
    with subprocess.Popen(
        [PYTHON, str(LAB_NET), "--", "sleep", "100", "--", "sh", "-c", b], stderr=subprocess.PIPE, text=True
    ) as process:
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
    b = f"echo $$ > {ready}.new; mv {ready}.new {ready}; exec sleep 100"
    with subprocess.Popen([PYTHON, str(LAB_NET), "--", "sleep", "100", "--", "sh", "-c", b]) as process:
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
    b = f"touch {ready}; exec sleep 100"
    with subprocess.Popen([PYTHON, str(LAB_NET), "-q", "--", "sleep", "100", "--", "sh", "-c", b]) as process:
        wait_until(ready.exists)
        assert lab("-q", "--", "true", "--", "true").returncode == 0
        assert len(names_of(process.pid)) == 2
        process.terminate()
    assert process.returncode == 143


def test_without_root_it_says_so_and_ends_with_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert tun_lab.main(["--", "true", "--", "true"]) == UNAVAILABLE
    assert "need root" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--", "true"], 2, "two programs are needed"),
        (["--delay", "25", "--", "true", "--", "true"], 2, "'25' is not a time"),
        (["--loss", "2", "--", "true", "--", "true"], 2, "'2' is not a share"),
        (["--loss", "80%", "--burst", "2", "--", "true", "--", "true"], 2, "needs bursts of at least"),
        (["--queue", "much", "--", "true", "--", "true"], 2, "neither a time"),
    ],
)
def test_a_wrong_command_line_gets_a_sentence(arguments: list[str], code: int, words: str) -> None:
    done = lab(*arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_program_that_does_not_exist_gets_a_sentence() -> None:
    if not lab_works():
        return
    done = lab("--", "true", "--", "no-such-program")
    assert done.returncode == 127
    assert done.stderr == "lab-net: there is no program called no-such-program\n"


def test_a_log_that_cannot_be_written_gets_a_sentence_and_leaves_nothing() -> None:
    if not lab_works():
        return
    done = lab("--log", "/no/such/directory/log", "--", "true", "--", "true")
    assert done.returncode == UNAVAILABLE
    assert "/no/such/directory/log" in done.stderr
    assert "Traceback" not in done.stderr


def test_each_direction_may_have_its_own_conditions() -> None:
    there = "--delay 25ms --rate 6mbit --queue 64kB --loss 2% --burst 5"
    back = "--delay-back 5ms --loss-back 0% --queue-back 300ms"
    options = tun_lab.parser().parse_args(f"{there} {back}".split())
    assert tun_lab.conditions_of(options, "") == LinkConditions(
        delay_us=25_000, loss=loss_model(0.02, 5), rate_bps=6_000_000, queue_bytes=64_000, reorder_us=10_000
    )
    assert tun_lab.conditions_of(options, "_back") == LinkConditions(
        delay_us=5_000, rate_bps=6_000_000, queue_us=300_000, reorder_us=10_000
    )
