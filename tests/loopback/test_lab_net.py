"""netem/lab-net with real namespaces. It needs root: where there is none, each test asserts that it says so."""

import json
import os
from pathlib import Path

import pytest

from tests.loopback.lab_net import (
    RECEIVER,
    UNAVAILABLE,
    lab,
    lab_works,
    python,
)
from udpconf.emulation import tun_lab
from udpconf.emulation.link import Fate, Link, LinkConditions
from udpconf.emulation.loss import loss_model


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

    start, *records = [json.loads(line) for line in log.read_text().splitlines()]
    sent = [record for record in records if "sent_us" in record]
    up, down = ([record for record in sent if record["direction"] == way] for way in ("up", "down"))
    delivered = [record for record in records if "due_us" in record]
    assert start == {"step": 0, "at_us": up[0]["sent_us"]}
    assert [record["fate"] for record in up] == [fate.value for fate in fates]
    assert [record["n"] for record in up] == list(range(packets))
    assert {record["size"] for record in up} <= {20 + 8 + digits for digits in (1, 2, 3)}
    assert [record["n"] for record in delivered if record["direction"] == "up"] == passed
    assert all(record["delivered_us"] >= record["due_us"] for record in delivered)
    assert all(
        record["due_us"] == up[record["n"]]["sent_us"] + 2000
        for record in delivered
        if record["direction"] == "up"
    )
    assert [record["fate"] for record in down] == ["passed"] * len(passed)


def test_the_complaint_of_a_closed_port_arrives_and_takes_no_packets_luck(tmp_path: Path) -> None:
    if not lab_works():
        return
    client = """
        import os, socket, time
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect((os.environ["LAB_PEER"], 5001))
        sock.settimeout(5)
        sock.send(b"is anybody there")
        try:
            sock.recv(10)
        except ConnectionRefusedError:
            print("nobody")
    """
    log = tmp_path / "log.jsonl"
    done = lab("--loss-back", "100%", "--log", str(log), "--", "sleep", "10", "--", *python(client))
    assert (done.returncode, done.stdout) == (0, "nobody\n"), done.stderr
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert [record["direction"] for record in records if "n" in record] == ["up", "up"]


def test_nothing_but_the_programs_packets_passes(tmp_path: Path) -> None:
    """No neighbour discovery, no multicast reports: they would shift the luck of the tested packets."""
    if not lab_works():
        return
    log = tmp_path / "log.jsonl"
    done = lab("--log", str(log), "--", "sleep", "10", "--", "sleep", "1.5")
    assert done.returncode == 0
    assert log.read_text() == ""
    assert "B to A: 0 packets" in done.stderr


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
    assert done.returncode == 3
    assert done.stderr == (
        "lab-net: the log /no/such/directory/log cannot be written: No such file or directory\n"
    )
