"""Real PyAudio devices on a private PulseAudio: what is played and recorded is measured, and the server is killed."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.loopback.pulse import RATE, Pcm, Pulse, amplitude_at, loudest, running_pulse, tone


@pytest.fixture
def pulse() -> Iterator[Pulse]:
    with running_pulse() as server:
        yield server


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_devices_are_listed_by_name_and_nothing_else_is_printed(pulse: Pulse) -> None:
    out, err = pulse.child("devices").communicate(timeout=30)
    (listed,) = objects(out)
    assert {"mic_monitor", "default"} <= set(listed["microphones"])
    assert {"spk", "default"} <= set(listed["speakers"])
    assert err == "", "ALSA and JACK keep quiet"


def roughness(pcm: Pcm) -> int:
    """How sharply the curve bends at most; where nothing sounds, as much as can be."""
    return int(np.abs(np.diff(pcm.astype(int), 2)).max()) if np.abs(pcm).max() > 1000 else 1 << 16


def test_a_speaker_plays_the_tone_it_is_given(pulse: Pulse) -> None:
    player = pulse.child("play", "spk", "440", "8000", "5")
    assert player.stdout is not None
    opened = json.loads(player.stdout.readline())
    heard = pulse.record("spk.monitor", 3.0)
    out, err = player.communicate(timeout=30)
    (result,) = objects(out)
    # On a busy machine the player may come too late at times; a second of peace is enough to judge the speaker by.
    seconds = [heard[at : at + RATE] for at in range(0, len(heard) - RATE + 1, RATE // 4)]
    heard = min(seconds, key=roughness)
    hertz, amplitude = loudest(heard)
    assert opened["name"] == "spk"
    assert abs(hertz - 440) < 2
    assert abs(amplitude - 8000) < 400
    assert roughness(heard) < 100, "no click"
    assert result["alive"]
    assert 0 < result["latency_us"] < 200_000
    assert err == ""


def test_all_clients_are_heard_from_the_servers_speaker(pulse: Pulse) -> None:
    server = pulse.child("receive", "spk", "6", "440", "1000")
    assert server.stdout is not None
    server.stdout.readline()
    heard = pulse.record("spk.monitor", 4.0)[-RATE:]
    out, err = server.communicate(timeout=30)
    (result,) = objects(out)
    # By tenths of a second: a busy machine leaves a gap in one of them, and the tone goes on in another phase.
    tenths = np.split(heard, 10)
    assert abs(np.median([amplitude_at(tenth, 440) for tenth in tenths]) - 4000) < 400
    assert abs(np.median([amplitude_at(tenth, 1000) for tenth in tenths]) - 4000) < 400
    assert np.median([amplitude_at(tenth, 700) for tenth in tenths]) < 40
    assert 0 < result["delay_us"] < 400_000
    for counts in result["counts"]:
        assert counts["lost"] == counts["late"] == 0
        assert counts["played"] > 500
    assert err == ""


def test_a_microphone_records_what_its_room_hears(pulse: Pulse, tmp_path: Path) -> None:
    room = pulse.play(tone(30, 600, 5000), "mic")
    path = tmp_path / "recorded.npz"
    try:
        out, err = pulse.child("record", "mic_monitor", "4", str(path)).communicate(timeout=30)
    finally:
        room.kill()
        room.wait(10)
    started, ended = objects(out)
    recorded = np.load(path)
    hertz, amplitude = loudest(recorded["pcm"][-RATE // 2 :])
    assert started["description"] == "microphone 'mic_monitor'"
    assert ended == {"alive": True, "dropped": 0}
    assert abs(hertz - 600) < 3
    assert abs(amplitude - 5000) < 250
    steps = np.diff(recorded["times"])[-50:]
    assert abs(float(steps.mean()) - 5_000) < 50, "capture times go with the samples"
    assert err == ""


def test_a_microphone_goes_over_to_another_device_without_stopping(pulse: Pulse, tmp_path: Path) -> None:
    room = pulse.play(tone(60, 600, 5000), "mic")
    path = tmp_path / "changed.npz"
    try:
        out, _ = pulse.child("change", "spk_monitor", "mic_monitor", "1.5", str(path)).communicate(timeout=60)
    finally:
        room.kill()
        room.wait(10)
    opened, refused, ended = objects(out)
    assert opened["description"] == refused["description"] == "microphone 'spk_monitor'"
    assert "There is no microphone 'gramophone'" in refused["error"]
    assert ended == {"description": "microphone 'mic_monitor'", "went_on": True, "alive": True}
    recorded = np.load(path)
    assert np.abs(recorded["before"]).max() < 100, "nothing plays there"
    hertz, _ = loudest(recorded["after"][-RATE // 2 :])
    assert abs(hertz - 600) < 3


def test_a_device_that_does_not_exist_is_a_sentence_and_code_4(pulse: Pulse) -> None:
    player = pulse.child("play", "gramophone", "440", "8000", "1")
    out, _ = player.communicate(timeout=30)
    (result,) = objects(out)
    assert player.returncode == 4
    assert "There is no speaker 'gramophone'; there are: " in result["error"]


def test_a_speaker_that_went_away_is_opened_again_when_it_comes_back(pulse: Pulse) -> None:
    player = pulse.child("play", "spk", "440", "8000", "13")
    assert player.stdout is not None
    player.stdout.readline()
    time.sleep(2)
    pulse.stop()
    time.sleep(3)
    pulse.start()
    deadline = time.monotonic() + 15
    hertz = amplitude = 0.0
    while time.monotonic() < deadline and not (abs(hertz - 440) < 3 and amplitude > 7000):
        hertz, amplitude = loudest(pulse.record("spk.monitor", 0.5))
    _, err = player.communicate(timeout=40)
    assert abs(hertz - 440) < 3
    assert err.count("stopped; trying it again every 2 s") == 1, "one line, not one for each try"
    assert err.count("is back") == 1
