"""``udpconf proxy`` and ``udpconf demo --scenario`` as people run them: processes, real sockets, real signals."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loopback.program import TIMEOUT_S, Program, clean_environment, run
from udpconf import __version__
from udpconf.emulation.link import Fate, Link, LinkConditions
from udpconf.emulation.loss import Bernoulli
from udpconf.emulation.scenario import scenario_names

TOOL = Path(__file__).parents[2] / "tools" / "udp_proxy.py"
PERFECT = ("--loss", "0")
MALFORMED = {
    "no-toml.toml": "delay = ",
    "no-unit.toml": '[link]\ndelay = "5"',
    "no-such-key.toml": '[link]\nlatency = "5ms"',
    "bytes.toml": "\0\1\2",
}


def udp_socket(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, port))
    sock.settimeout(10)
    return sock


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with udp_socket() as sock:
        yield sock


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def proxy(target: socket.socket, *arguments: str, audio_ports: str = "none") -> Program:
    """Through a network that changes nothing, unless the arguments say another one."""
    network = () if "--scenario" in arguments else PERFECT
    return Program(
        "proxy",
        *("--listen", "127.0.0.2:0", "--to", f"127.0.0.1:{port_of(target)}", "--audio-ports", audio_ports),
        "--json",
        *network,
        *arguments,
    )


def listening(program: Program) -> tuple[str, int]:
    event = json.loads(program.line())
    assert event["event"] == "listening", "the first line says where to join"
    return event["host"], event["port"]


def is_a_sentence(text: str) -> bool:
    lines = text.strip().splitlines()
    return bool(lines) and "Traceback" not in text and lines[-1].endswith(".")


def test_the_verb_has_help_and_version() -> None:
    helped = run("proxy", "--help")
    assert (helped.returncode, helped.stderr) == (0, "")
    for flag in ("--listen", "--to", "--scenario", "--json", "--quiet", "--verbose", "--version", "--help"):
        assert flag in helped.stdout
    assert run("proxy", "--version").stdout == f"udpconf {__version__}\n"


def test_datagrams_of_several_clients_pass_both_ways(server: socket.socket) -> None:
    with proxy(server) as program:
        address = listening(program)
        clients = [udp_socket() for _ in range(5)]
        for number, client in enumerate(clients):
            client.sendto(b"question %d" % number, address)
            data, flow = server.recvfrom(100)
            assert data == b"question %d" % number
            server.sendto(b"answer %d" % number, flow)
        for number, client in enumerate(clients):
            assert client.recvfrom(100) == (b"answer %d" % number, address)
            client.close()
        assert program.end(signal.SIGTERM) == 0
        ended = program.event("ended")
    assert (ended["reason"], ended["clients"], ended["not_sent"]) == ("SIGTERM", 5, 0)
    assert ended["up"]["delivered"] == ended["down"]["delivered"] == 5
    assert ended["up"]["sent_bytes"] == 5 * (10 + 28)
    assert ended["step"] == 1


def test_the_ports_of_the_sound_are_carried_under_the_same_numbers(server: socket.socket) -> None:
    with udp_socket() as sound, udp_socket() as client:
        port = port_of(sound)
        with proxy(server, audio_ports=str(port)) as program:
            event = program.event("listening")
            assert event["audio_ports"] == [port, port]
            client.sendto(b"tone", ("127.0.0.2", port))
            assert sound.recv(100) == b"tone"


def test_the_proxy_loses_the_packets_that_the_emulator_loses_with_the_same_seed(
    server: socket.socket,
) -> None:
    link: Link[int] = Link(LinkConditions(loss=Bernoulli(0.3)), "42/up")
    expected = [n for n in range(200) if link.send(0, n, 1).fate == Fate.PASSED]
    with proxy(server, "--loss", "30%", "--seed", "42") as program, udp_socket() as client:
        address = listening(program)
        received = []
        for first in range(0, 200, 50):  # the kernel's default buffer holds some 270 datagrams
            for number in range(first, first + 50):
                client.sendto(b"%d" % number, address)
            received += [int(server.recv(100)) for n in expected if first <= n < first + 50]
        assert received == expected
        assert program.end(signal.SIGINT) == 130
        assert program.event("ended")["up"]["lost"] == 200 - len(expected)


def test_a_file_is_a_scenario_whose_schedule_starts_with_the_first_datagram(
    server: socket.socket, tmp_path: Path
) -> None:
    """The statistics come after 5 s, and still nothing of the first half minute has passed."""
    path = tmp_path / "mine.toml"
    path.write_text(
        'title = "Mine"\nsource = "Invented."\n[link]\ndelay = "1ms"\n[[step]]\nat = "30s"\noutage = true\n'
    )
    with proxy(server, "--scenario", str(path)) as program, udp_socket() as client:
        event = program.event("listening")
        assert (event["title"], event["steps"]) == ("Mine", 2)
        assert program.event("stats")["step"] is None
        client.sendto(b"hello", (event["host"], event["port"]))
        assert server.recv(100) == b"hello"
        assert program.event("stats")["step"] == 1


def test_a_run_of_some_seconds_ends_by_itself_with_0_and_a_summary(server: socket.socket) -> None:
    arguments = ("proxy", "--listen", "127.0.0.2:0", "--to", f"127.0.0.1:{port_of(server)}")
    done = run(*arguments, "--audio-ports", "none", "--scenario", "loss-5", "--seconds", "1")
    assert done.returncode == 0, done.stderr
    (first_line,) = done.stdout.splitlines()
    assert first_line.startswith("127.0.0.2:")
    assert "through the network loss-5 (5 % of the packets lost" in done.stderr
    assert "Ended (the time is over) after 1 s: 0 senders; to the server 0 packets" in done.stderr
    quiet = run(*arguments, "--audio-ports", "none", *PERFECT, "--seconds", "1", "-q")
    assert (quiet.returncode, quiet.stderr) == (0, "")


def test_the_list_names_every_scenario_with_its_title() -> None:
    done = run("proxy", "--list")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == scenario_names()
    events = [json.loads(line) for line in run("proxy", "--list", "--json").stdout.splitlines()]
    assert [event["name"] for event in events] == scenario_names()
    assert all(event["title"] and event["source"] for event in events)


TO = ("--to", "127.0.0.1:5000")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--to is missing"),
        (TO, "Nothing says what the network does"),
        (("--to", "no host"), "'no host' is not a host"),
        (("--to", "127.0.0.1:0"), "0 is none"),
        (("--to", "127.0.0.1:70000"), "70000 is not a UDP port"),
        ((*TO, "--listen", "127.0.0.2:5600"), "5600"),
        ((*TO, "--audio-ports", "some"), "not a number"),
        ((*TO, "--audio-ports", "6000-7000"), "1001 ports"),
        ((*TO, "--delay", "25"), "25ms"),
        ((*TO, "--loss", "102%"), "0% to 100%"),
        ((*TO, "--rate", "0mbit"), "more than nothing"),
        ((*TO, "--queue", "many", "--rate", "1mbit"), "neither a time"),
        ((*TO, "--queue", "64kB"), "does nothing without --rate"),
        ((*TO, "--burst", "5"), "does nothing without --loss"),
        ((*TO, "--loss", "90%", "--burst", "2"), "needs bursts"),
        ((*TO, "--scenario", "loss-5", "--delay", "5ms"), "exclude each other"),
        ((*TO, "--no-such-flag"), "No such option"),
    ],
)
def test_a_wrong_flag_ends_with_2(arguments: tuple[str, ...], words: str) -> None:
    done = run("proxy", *arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_an_unknown_scenario_ends_with_3_and_names_the_known_ones() -> None:
    for arguments in (("proxy", *TO, "--scenario", "4g"), ("demo", "--scenario", "4g")):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (3, "")
        assert is_a_sentence(done.stderr)
        assert "4g-moving" in done.stderr


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_scenario_ends_with_3_and_names_its_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(MALFORMED[name])
    done = run("proxy", *TO, "--scenario", str(path))
    assert (done.returncode, done.stdout) == (3, "")
    assert "Traceback" not in done.stderr
    assert name in done.stderr


def test_an_address_that_is_not_of_this_machine_ends_with_3() -> None:
    done = run("proxy", *TO, *PERFECT, "--listen", "192.0.2.1:5000")
    assert (done.returncode, done.stdout) == (3, "")
    assert is_a_sentence(done.stderr)
    assert "192.0.2.1 port 5000" in done.stderr


def test_a_host_without_an_address_ends_with_5() -> None:
    done = run("proxy", "--to", "no-such-host.invalid:5000", *PERFECT)
    assert (done.returncode, done.stdout) == (5, "")
    assert is_a_sentence(done.stderr)
    assert "no-such-host.invalid" in done.stderr


def test_a_port_that_a_server_on_every_address_owns_ends_with_7_and_says_so() -> None:
    with udp_socket("0.0.0.0") as taken:
        port = port_of(taken)
        done = run("proxy", "--to", f"127.0.0.1:{port}", "--listen", f"127.0.0.2:{port}", *PERFECT)
    assert (done.returncode, done.stdout) == (7, "")
    assert is_a_sentence(done.stderr)
    assert "0.0.0.0" in done.stderr
    assert str(port) in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_it_in_order_and_leaves_no_port_taken(
    number: int, code: int, server: socket.socket
) -> None:
    with proxy(server, "--delay", "10s") as program, udp_socket() as client:
        address = listening(program)
        client.sendto(b"on its way for ten seconds", address)
        assert program.end(number) == code
        assert program.event("ended")["up"]["sent"] <= 1
        assert not program.errors or "Traceback" not in "".join(program.errors)
    udp_socket(*address).close()


def test_what_the_command_line_says_counts_before_the_environment(server: socket.socket) -> None:
    with Program(
        "proxy",
        *("--to", f"127.0.0.1:{port_of(server)}", "--scenario", "loss-5", "--json"),
        environment={
            "UDPCONF_DELAY": "5ms",
            "UDPCONF_LISTEN": "127.0.0.2:0",
            "UDPCONF_AUDIO_PORTS": "none",
        },
    ) as program:
        assert program.event("listening")["scenario"] == "loss-5"


@pytest.mark.parametrize("same_address", [False, True])
def test_a_server_behind_it_gets_picture_and_sound(same_address: bool) -> None:
    """On the server's own address the sound has to share the main port."""
    with Program(
        "serve", "--host", "127.0.0.1", "--port", "0", "--open", "--json", "--audio-ports", "45556-45565"
    ) as real:
        port = real.event("listening")["port"]
        listen, audio_ports, mux = f"127.0.0.2:{port}", "45556-45565", []
        if same_address:
            listen, audio_ports, mux = "127.0.0.1:0", "none", ["--mux-audio"]
        with Program(
            *("proxy", "--listen", listen, "--to", f"127.0.0.1:{port}", "--audio-ports", audio_ports),
            *("--scenario", "wifi-bursts", "--json"),
        ) as between:
            host, port = listening(between)
            with Program("send", f"{host}:{port}", "--open", "--test-pattern", "--json", *mux) as sender:
                sender.event("connected")
                for _ in range(12):  # one each 5 s
                    whole = heard = 0
                    for stats in real.event("stats")["clients"].values():
                        whole, heard = stats["frames_whole"], stats["audio_frames_received"]
                    if whole > 30 and heard > 100:
                        break
                assert whole > 30
                assert heard > 100
                assert sender.end(signal.SIGINT) == 130
            assert between.end(signal.SIGTERM) == 0
            ended = between.event("ended")
            assert ended["up"]["lost"] > 0
            assert ended["clients"] == 1


def test_the_tool_is_the_same_program_and_needs_no_opencv(tmp_path: Path) -> None:
    for name in ("cv2", "av", "numpy", "cryptography", "mss", "lz4"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not installed')")
    environment = clean_environment(PYTHONPATH=str(tmp_path))

    def tool(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(TOOL), *arguments]
        return subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            cwd=tmp_path,
        )

    assert os.access(TOOL, os.X_OK)
    assert tool("--list").stdout == run("proxy", "--list").stdout
    with udp_socket() as server:
        done = tool(
            *("--listen", "127.0.0.2:0", "--to", f"127.0.0.1:{port_of(server)}", "--audio-ports", "none"),
            *("--seconds", "1", "--loss", "2"),
        )
    assert done.returncode == 0, done.stderr
    assert "Ended" in done.stderr
    assert tool("--to", "no host").returncode == 2


def test_the_demo_shows_frames_through_a_scenario(tmp_path: Path) -> None:
    done = run(
        *("demo", "--seconds", "3", "--scenario", "wifi-bursts", "--seed", "7", "--out", str(tmp_path)),
        *("--json", "--no-display"),
    )
    assert done.returncode == 0, done.stderr
    event = next(value for line in done.stdout.splitlines() if (value := json.loads(line))["event"] == "demo")
    (figures,) = event["senders"]
    assert (event["scenario"], event["seed"]) == ("wifi-bursts", "7")
    assert figures["frames_whole"] + figures["frames_with_holes"] > 30
    assert figures["latency_p50_ms"] > 5
    assert "wifi-bursts" in done.stderr


def test_the_demo_counts_on_after_an_outage_whether_the_old_session_or_a_new_one_goes_on(
    tmp_path: Path,
) -> None:
    path = tmp_path / "gone.toml"
    path.write_text(
        'title = "Gone"\nsource = "Invented."\n[[step]]\nat = "2s"\noutage = true\n[[step]]\nat = "5s"\n'
    )
    done = run(
        *("demo", "--seconds", "9", "--scenario", str(path), "--out", str(tmp_path)),
        *("--json", "--no-display"),
    )
    assert done.returncode == 0, done.stderr
    event = next(value for line in done.stdout.splitlines() if (value := json.loads(line))["event"] == "demo")
    (figures,) = event["senders"]
    # Which of the two it is, the first packet that gets through decides.
    assert figures["times_lost"] in (0, 1)
    assert len(event["recordings"]) == 1 + figures["times_lost"]
    # A session that goes on counts the outage's frames as skipped, those too that were dropped at the
    # sender while nothing was heard; a new session knows nothing of them.
    told = figures["frames_whole"] + figures["frames_with_holes"] + figures["frames_skipped"]
    assert 60 < told <= figures["frames_captured"]
    if figures["times_lost"]:
        assert told < figures["frames_sent"]


def test_the_demo_takes_a_loss_or_a_scenario() -> None:
    done = run("demo", "--loss", "5", "--scenario", "wifi-bursts")
    assert (done.returncode, done.stdout) == (2, "")
    assert "exclude each other" in done.stderr
    assert run("demo", "--loss", "95").returncode == 2
