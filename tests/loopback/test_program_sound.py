"""From a microphone to the server's loudspeaker, through the two programs and real devices of a sound server."""

import re
import signal
from collections.abc import Iterator

import pytest

from tests.loopback.program import Program, run
from tests.loopback.pulse import Pulse, loudest, running_pulse, tone
from tests.loopback.waiting import wait_until
from tests.loopback.xvfb import running_xvfb

TONE_HZ = 700.0
# -10 dBFS; what comes out may differ by 1 dB: Opus at 32 kbit/s and a mixer that leaves headroom alone.
AMPLITUDE = 10_000


@pytest.fixture(scope="module")
def pulse() -> Iterator[Pulse]:
    with running_pulse() as server:
        yield server


def test_a_tone_in_the_microphone_comes_out_of_the_servers_loudspeaker(pulse: Pulse) -> None:
    with Program(
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--open",
        "--json",
        "--speaker",
        "spk",
        environment=pulse.environment,
    ) as server:
        url = server.event("listening")["url"]
        with Program(
            "send",
            url,
            "--open",
            "--no-video",
            "--mic",
            "mic_monitor",
            "--json",
            environment=pulse.environment,
        ) as sender:
            connected = sender.event("connected")
            assert "mic_monitor" in connected["source"]
            server.event("joined")
            playing = pulse.play(tone(20.0, TONE_HZ, AMPLITUDE), "mic")
            try:
                pulse.record("spk.monitor", 2.0)  # the way fills
                for _ in range(6):
                    frequency, amplitude = loudest(pulse.record("spk.monitor", 1.0))
                    # If the machine stood still for a moment, the tone has moved within this second, and looks less loud.
                    if abs(amplitude / AMPLITUDE - 1) < 0.12:
                        break
            finally:
                playing.kill()
                playing.wait()
            assert abs(frequency - TONE_HZ) < 2
            assert abs(amplitude / AMPLITUDE - 1) < 0.12
            assert sender.end(signal.SIGINT) == 130
        assert server.end(signal.SIGTERM) == 0
        # PortAudio's libraries print a line for each device that is not there; none may reach the terminal.
        assert not [
            line
            for line in server.errors + sender.errors
            if re.search("alsa|jack|pulse", line, re.IGNORECASE)
        ]


def test_the_key_o_plays_on_another_speaker(pulse: Pulse) -> None:
    with (
        running_xvfb() as xvfb,
        Program(
            "serve", "--host", "127.0.0.1", "--port", "0", "--open", "--json", "--speaker", "spk", "--display",
            environment=pulse.environment | {"DISPLAY": xvfb.display},
        ) as server,
    ):  # fmt: skip
        window = f"udpconf on port {server.event('listening')['port']}"
        first = server.event("speaker")
        assert first["name"] == "spk"
        assert 0 < first["latency_ms"] < 500
        wait_until(lambda: xvfb.find_window(window))
        xvfb.press(window, "o")
        assert server.event("speaker")["name"] != "spk"
        assert server.end(signal.SIGTERM) == 0


def test_devices_and_doctor_find_microphone_and_speaker(pulse: Pulse) -> None:
    listed = run("devices", environment=pulse.environment)
    assert "--mic" in listed.stdout
    assert "--speaker" in listed.stdout
    checked = run("doctor", "--port", "0", environment=pulse.environment)
    assert re.search(r"^ok +audio", checked.stdout, re.MULTILINE), checked.stdout


def test_a_microphone_that_was_named_and_is_not_there_ends_with_4(pulse: Pulse) -> None:
    done = run(
        "send", "udpconf://127.0.0.1/#k", "--no-video", "--mic", "no-such-mic", environment=pulse.environment
    )
    assert done.returncode == 4
    assert "no-such-mic" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_from_the_microphone_is_played_on_the_speaker(pulse: Pulse) -> None:
    playing = pulse.play(tone(8.0, TONE_HZ, AMPLITUDE), "mic")
    try:
        with Program(
            "devices",
            "--test",
            "--mic",
            "mic_monitor",
            "--speaker",
            "spk",
            "--json",
            environment=pulse.environment,
        ) as test:
            heard = pulse.record("spk.monitor", 5.0)
            tested = test.event("device_test")
    finally:
        playing.kill()
        playing.wait()
    assert -12 < tested["peak_dbfs"] < -8
    hertz, _ = loudest(heard)
    assert abs(hertz - TONE_HZ) < 5
