"""Every error is a sentence and its documented exit code; results are on stdout, the rest is on stderr."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loopback.program import TIMEOUT_S, Program, clean_environment, run
from tests.loopback.xvfb import running_xvfb
from udpconf import __version__, config

VERBS = ["serve", "send", "devices", "doctor", "demo", "proxy"]


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_a_sentence(text: str) -> bool:
    lines = text.strip().splitlines()
    return bool(lines) and "Traceback" not in text and lines[-1].endswith(".")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_version(verb: str) -> None:
    helped = run(verb, "--help")
    assert (helped.returncode, helped.stderr) == (0, "")
    for flag in ("--json", "--quiet", "--verbose", "--version", "--help"):
        assert flag in helped.stdout
    for arguments in ((verb, "--version"), ("--version",), ("--version", verb)):
        assert run(*arguments).stdout == f"udpconf {__version__}\n"


def test_a_wrong_flag_is_usage_and_ends_with_2() -> None:
    for arguments in (
        ("serve", "--no-such-flag"),
        ("send", "--port", "abc"),
        ("no-such-verb",),
        ("send", "--camera", "0", "--screen"),
        ("serve", "--layout", "circle"),
        ("serve", "--audio-ports", "many"),
        ("serve", "--audio-ports", "7000-6000"),
        ("send", "--loop", "--test-pattern"),
        ("send", "--tone", "300", "--no-video"),
        ("send", "--no-video", "--preview"),
        ("send", "--audio-frame-ms", "15"),
        ("send", "--test-pattern", "--mic", "none", "--stereo"),
        ("send", "--test-pattern", "--mic", "none", "--dtx"),
    ):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert "Error" in done.stderr


def test_the_environment_may_hold_a_flag_of_another_source() -> None:
    done = run("send", "127.0.0.1", "--test-pattern", environment={"UDPCONF_LOOP": "1"})
    assert done.returncode == 3, done.stderr  # no passphrase


def test_the_list_of_verbs_is_not_cut_and_names_the_program() -> None:
    helped = run("-h")
    assert "..." not in helped.stdout.split("Commands:")[1]
    assert helped.stdout.startswith("Usage: udpconf ")
    assert run("demo", "-h").stdout.startswith("Usage: udpconf demo ")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("send", "127.0.0.1", "--test-pattern"), "UDPCONF_PASSPHRASE"),
        (("send", "udpconf://127.0.0.1:5000/#k", "--file", "no-such-clip.mp4"), "no-such-clip.mp4"),
        (("send", "udpconf://127.0.0.1:5000/x#k"), "udpconf://host:port/#key"),
        (("send", "udpconf://127.0.0.1/#k", "--test-pattern", "--open"), "--open"),
        (("send", "udpconf://127.0.0.1/#k", "--quality", "10", "--min-quality", "20"), "--min-quality 20"),
        (("serve", "--port", "0", "--passphrase-file", "no-such-file"), "no-such-file"),
        (("serve", "--port", "0", "--record", "/proc/no/such"), "/proc/no/such"),
        (("serve", "--host", "192.0.2.1", "--port", "0"), "192.0.2.1: that is no address of this machine"),
        (("send", "udpconf://127.0.0.1/#k", "--file", "."), "is a directory"),
    ],
)
def test_a_wrong_setting_ends_with_3(arguments: tuple[str, ...], word: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    assert word in done.stderr
    assert is_a_sentence(done.stderr)


def test_a_camera_that_does_not_exist_ends_with_4() -> None:
    done = run("send", f"udpconf://127.0.0.1:{free_port()}/#k", "--camera", "97")
    assert done.returncode == 4
    assert "97" in done.stderr
    assert is_a_sentence(done.stderr)


@pytest.mark.parametrize(
    "arguments",
    [("serve", "--port", "0", "--display"), ("demo", "--display"), ("send", "--test-pattern", "--preview")],
)
def test_a_window_that_was_asked_for_and_cannot_be_ends_with_4(arguments: tuple[str, ...]) -> None:
    done = run(*arguments, environment={"UDPCONF_PASSPHRASE": "k"})
    assert (done.returncode, done.stdout) == (4, "")
    assert "There is no display" in done.stderr
    assert is_a_sentence(done.stderr)


def test_a_speaker_that_is_not_there_is_told_before_an_address_is_given_out() -> None:
    done = run("serve", "--host", "127.0.0.1", "--port", "0", "--speaker", "99")
    assert done.returncode in (4, 8)  # 8: without PyAudio
    assert done.stdout == ""
    assert done.returncode == 8 or "99" in done.stderr
    assert is_a_sentence(done.stderr)


def test_a_dead_address_ends_with_5() -> None:
    # The quality is below the default lower limit, which makes way.
    done = run(
        "send", f"udpconf://127.0.0.1:{free_port()}/#k", "--test-pattern", "--no-preview", "--quality", "10"
    )
    assert done.returncode == 5
    assert is_a_sentence(done.stderr)


def test_a_name_without_an_address_ends_with_5() -> None:
    done = run("send", "udpconf://no-such-host.invalid/#k", "--test-pattern", "--no-preview")
    assert done.returncode == 5
    assert "no-such-host.invalid" in done.stderr


def test_a_wrong_passphrase_ends_with_6_and_the_server_says_who_had_it() -> None:
    with Program(
        "serve", "--host", "127.0.0.1", "--port", "0", "--json", environment={"UDPCONF_PASSPHRASE": "right"}
    ) as server:
        port = server.event("listening")["port"]
        environment = {"UDPCONF_PASSPHRASE": "wrong"}
        done = run("send", "127.0.0.1", "--port", str(port), "--test-pattern", environment=environment)
        assert done.returncode == 6, done.stderr
        assert "passphrase" in done.stderr
        assert is_a_sentence(done.stderr)
        refused = server.event("refused")
        assert refused["address"].startswith("127.0.0.1:")
        assert server.end(signal.SIGTERM) == 0
        assert f"refused {refused['address']}: {refused['reason']}" in server.errors


def test_a_busy_port_ends_with_7() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as busy:
        busy.bind(("127.0.0.1", 0))
        port = busy.getsockname()[1]
        done = run("serve", "--host", "127.0.0.1", "--port", str(port))
        assert (done.returncode, done.stdout) == (7, "")
        assert str(port) in done.stderr
        assert is_a_sentence(done.stderr)


def test_an_error_is_an_object_too_with_json_and_has_a_traceback_with_vv() -> None:
    done = run("--json", "send", "127.0.0.1", "-vv")
    assert done.returncode == 3
    event = json.loads(done.stdout)
    assert event["event"] == "error"
    assert event["exit_code"] == 3
    assert event["message"] in done.stderr
    assert "Traceback" in done.stderr


def test_the_first_line_of_a_server_is_the_url_to_join() -> None:
    with Program("serve", "--host", "127.0.0.1", "--port", "0") as server:
        url = server.line()
        target = config.parse_join_url(url)
        assert target.host == "127.0.0.1"
        assert target.passphrase is not None
        assert target.passphrase.count("-") >= 4
        assert server.end(signal.SIGTERM) == 0
        assert any(line.startswith("Ended (SIGTERM)") for line in server.errors), server.errors


def test_a_server_on_every_address_names_one_that_others_can_reach() -> None:
    with Program("serve", "--port", "0") as server:
        assert config.parse_join_url(server.line()).host not in ("0.0.0.0", "")


def test_with_json_the_first_line_is_a_listening_event() -> None:
    with Program("serve", "--host", "127.0.0.1", "--port", "0", "--open", "--json") as server:
        event = server.event("listening")
        assert config.parse_join_url(event["url"]) == config.Target("127.0.0.1", event["port"], None)
        assert event["open"] is True
        assert server.end(signal.SIGINT) == 130
        assert json.loads(server.line())["event"] == "ended"


def test_flags_read_their_environment_variables_and_the_command_line_wins() -> None:
    variables = {
        "UDPCONF_HOST": "127.0.0.1",
        "UDPCONF_PORT": "0",
        "UDPCONF_JSON": "1",
        "UDPCONF_AUDIO_PORTS": "7-3",
    }
    assert run("serve", environment=variables).returncode == 2
    with Program("serve", "--audio-ports", "6000-6001", environment=variables) as server:
        event = server.event("listening")
        assert event["host"] == "127.0.0.1"
        assert event["audio_ports"] == [6000, 6001]


def test_a_passphrase_comes_from_a_file_and_never_shows(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("bicycle of the mayor\n")
    with Program(
        "serve", "--host", "127.0.0.1", "--port", "0", "--passphrase-file", str(secret), "-vv"
    ) as server:
        assert config.parse_join_url(server.line()).passphrase is None
        server.end(signal.SIGTERM)
        assert not any("bicycle" in line for line in server.errors)
    with Program(
        *("serve", "--host", "127.0.0.1", "--port", "0", "--json"),
        environment={"UDPCONF_PASSPHRASE": "bicycle"},
    ) as server:
        assert "bicycle" not in server.event("listening")["url"]


def test_doctor_gives_each_check_a_verdict() -> None:
    done = run("doctor", "--port", str(free_port()), "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    checks = {event["id"]: event for event in events if event["event"] == "check"}
    assert list(checks) == [
        "python",
        "opencv",
        "libraries",
        "display",
        "cameras",
        "audio",
        "voice",
        "buffers",
        "ports",
        "firewall",
        "disk",
    ]
    assert {check["verdict"] for check in checks.values()} <= {"ok", "warn", "fail"}
    assert checks["display"]["verdict"] == "warn"
    assert events[-1]["event"] == "doctor"
    assert done.returncode == (1 if events[-1]["faults"] else 0)


def test_doctor_finds_a_busy_port_and_ends_with_1() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as busy:
        busy.bind(("0.0.0.0", 0))
        done = run("doctor", "--port", str(busy.getsockname()[1]))
        assert done.returncode == 1
        assert "in use by another program" in done.stdout


def test_devices_lists_one_object_a_line() -> None:
    done = run("devices", "--json")
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        device = json.loads(line)
        assert device["event"] == "device"
        assert device["kind"] in ("camera", "microphone", "speaker", "screen")


def test_devices_says_in_a_line_what_could_not_be_found() -> None:
    done = run("devices")
    assert done.returncode == 0
    assert "No screen can be copied" in done.stderr


def test_with_a_display_doctor_opens_a_window_and_devices_lists_the_screen() -> None:
    with running_xvfb() as xvfb:
        checked = run("doctor", "--port", "0", environment={"DISPLAY": xvfb.display})
        assert "ok    display    a window opens" in checked.stdout
        listed = run("devices", environment={"DISPLAY": xvfb.display})
        assert "--screen      screen (default)  1280x800" in listed.stdout


def test_a_server_whose_reader_has_gone_ends_in_order() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "udpconf", "serve", "--host", "127.0.0.1", "--port", "0", "--open", "--json"],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        url = json.loads(server.stdout.readline())["url"]
        server.stdout.close()
        with Program("send", url, "--open", "--test-pattern"):
            said = server.stderr.read()
            assert server.wait(TIMEOUT_S) == 0
        assert "Traceback" not in said
