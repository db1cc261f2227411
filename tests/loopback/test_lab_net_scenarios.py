"""netem/lab-net with scenarios: the namespaces decide as the emulator does, and nonsense gets a sentence."""

import json
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from tests.loopback.lab_net import LAB_NET, PYTHON, RECEIVER, UNAVAILABLE, lab, lab_works, python
from udpconf.emulation.link import Fate
from udpconf.emulation.scenario import load_scenario
from udpconf.emulation.scenario_link import ScenarioLink

# Everything at once, another way back, and four steps that come round again.
RESTLESS = """
title = "Everything that can happen"
source = "Made up for a test."
[link]
delay = "2ms"
jitter = "1ms"
jitter_shape = "exponential"
jitter_correlation = "50%"
duplicate = "5%"
reorder = "5%"
reorder_delay = "5ms"
corrupt = "5%"
[up]
loss = "10%"
burst = 3.0
[down]
loss_trace = "00010"
[[step]]
at = "150ms"
rate = "800kbit"
rate_burst = "5kB"
queue = "20ms"
[[step]]
at = "300ms"
outage = true
[[step]]
at = "350ms"
[step.up]
rate_trace = { synthetic = { seed = 3, seconds = 1, mean = "2mbit" } }
[schedule]
repeat = "500ms"
"""
CLIENT = """
    import os, socket, time
    time.sleep(0.5)  # A is starting
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for number in range({packets}):
        sock.sendto(b"%-200d" % number, (os.environ["LAB_PEER"], 5000))
        time.sleep(0.001)
    time.sleep(0.3)
"""


def test_the_nth_packet_suffers_what_the_emulator_does_to_it_with_the_same_seed(tmp_path: Path) -> None:
    if not lab_works():
        return
    file, log = tmp_path / "restless.toml", tmp_path / "log.jsonl"
    file.write_text(RESTLESS)
    client = python(CLIENT.format(packets=1200))
    done = lab(str(file), "--seed", "11", "--log", str(log), "--", *python(RECEIVER), "--", *client)
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in log.read_text().splitlines()]
    packets = [record for record in records if "sent_us" in record]
    assert {record["fate"] for record in packets} == {fate.value for fate in Fate}
    assert any(record["corrupted"] for record in packets)
    assert any(record["duplicated"] for record in packets)

    scenario = load_scenario(str(file))
    link: ScenarioLink[int] = ScenarioLink(scenario, 11)
    for record in records:
        if "sent_us" in record:
            verdict = link.send(record["direction"], record["sent_us"], 0, record["size"])
            said = (record["n"], record["fate"], record["corrupted"], record["duplicated"])
            assert said == (verdict.number, verdict.fate.value, verdict.corrupted, verdict.duplicated)
        elif "due_us" in record:
            delivery = link.poll_numbered(record["direction"], record["delivered_us"])
            assert delivery is not None
            came = (record["n"], record["copy"], record["due_us"])
            assert came == (delivery.number, delivery.is_copy, delivery.due_us)

    start_us = packets[0]["sent_us"]  # the programs waited half a second before the first packet
    steps = [record for record in records if "step" in record]
    times_ms = [turn * 500 + at for turn in range(100) for at in (0, 150, 300, 350)]
    expected = [{"step": n % 4, "at_us": start_us + at * 1000} for n, at in enumerate(times_ms)]
    assert len(steps) > 8
    assert steps == expected[: len(steps)]
    # In the order in which things happened, so a reader of the log knows the step of each packet.
    times_us = [
        next(record[key] for key in ("sent_us", "delivered_us", "at_us") if key in record)
        for record in records
    ]
    assert all(before <= after for before, after in pairwise(times_us))


def test_a_corrupted_packet_differs_in_one_bit() -> None:
    if not lab_works():
        return
    receiver = """
        import os, signal, socket, sys
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((os.environ["LAB_HERE"], 5000))
        while True:
            data = sock.recv(2000)
            print(len(data), sum(byte.bit_count() for byte in data), flush=True)
    """
    client = """
        import os, socket, time
        time.sleep(0.5)  # A is starting
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK: or the receiving kernel would drop what is damaged
        for number in range(50):
            sock.sendto(bytes(1000), (os.environ["LAB_PEER"], 5000))
            time.sleep(0.001)
        time.sleep(0.2)
    """
    done = lab("--corrupt", "100%", "--", *python(receiver), "--", *python(client))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    # Of 1028 bytes 28 are headers; a packet whose header is hit may still arrive, with zeros alone.
    assert len(lines) > 25
    assert set(lines) <= {"1000 1", "1000 0"}
    assert "1000 1" in lines
    assert "50 corrupted" in done.stderr


def test_a_shipped_scenario_is_known_by_its_name() -> None:
    if not lab_works():
        return
    client = python(CLIENT.format(packets=20))
    done = lab("cellular-trace", "--", *python(RECEIVER), "--", *client)
    assert done.returncode == 0, done.stderr
    assert [int(line) for line in done.stdout.splitlines()] == list(range(20))
    assert "B to A: 20 packets, 0 lost" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--queue-back", "64kB"], "--queue-back does nothing without --rate"),
        (["wifi-bursts", "--loss", "2%"], "leave out either it or --loss"),
        (["wifi-bursts", "--delay-back", "2ms"], "leave out either it or --delay-back"),
        (["--jitter-shape", "round"], "uniform, normal, exponential, pareto"),
        (["--corrupt", "2"], "'2' is not a share"),
        (["--rate-burst", "2"], "'2' is not a size"),
        (["--burst", "few"], "'few' is not a number of packets"),
    ],
)
def test_a_condition_that_cannot_be_gets_a_sentence(arguments: list[str], words: str) -> None:
    done = lab(*arguments, "--", "true", "--", "true")
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_scenario_that_is_not_there_ends_with_3() -> None:
    for name, words in (("wifi-burst", "wifi-bursts"), ("no/such.toml", "no/such.toml")):
        done = lab(name, "--", "true", "--", "true")
        assert done.returncode == 3
        assert words in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title = ", "no valid TOML"),
        ('title = "t"\nsource = "s"\n[link]\ndelya = "5ms"', "delya"),
        ('title = "t"\nsource = "s"\n[link]\ndelay = "5"', "'5' is not a time"),
        ('title = "t"\nsource = "s"\n[link]\nrate_trace = "1\\nx"', "line 2 of the rate trace"),
        ('title = "t"\nsource = "s"\n[link]\nrate_trace = { file = "gone" }', "gone"),
    ],
)
def test_a_malformed_scenario_file_gets_a_sentence_that_names_it(
    text: str, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    done = lab(str(file), "--", "true", "--", "true")
    assert done.returncode == 3
    assert str(file) in done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_it_needs_nothing_but_python() -> None:
    """-S leaves out all packages that are installed beside Python's own, such as OpenCV."""
    command = [PYTHON, "-I", "-S", str(LAB_NET)]
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "wifi-bursts" in done.stdout
    done = subprocess.run(
        [*command, "wifi-bursts", "-q", "--", "true", "--", "true"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == (0 if lab_works() else UNAVAILABLE), done.stderr
