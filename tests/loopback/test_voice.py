"""Voice processing from a microphone to the server, by the program and by the API."""

import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import udpconf
from tests.loopback.program import Program, run
from tests.loopback.pulse import Pulse, running_pulse
from udpconf.errors import LocalProtocolError
from udpconf.media.voice import INSTALL_COMMAND


@pytest.fixture(scope="module")
def pulse() -> Iterator[Pulse]:
    with running_pulse() as server:
        yield server


def noise(seconds: float) -> NDArray[np.int16]:
    return np.random.default_rng(1).normal(0, 500, round(seconds * 48_000)).astype(np.int16)


def heard_of_noise(pulse: Pulse, *flags: str, below: float = np.inf) -> float:
    """Loudness in decibels of what the server plays while the microphone hears noise: of the fourth second, or of the first one
    after it that is below something. On a busy machine the noise has gaps, and it takes longer until it is known as noise.
    """
    with Program(
        "serve", "--host", "127.0.0.1", "--port", "0", "--open", "--json", "--speaker", "spk",
        environment=pulse.environment,
    ) as server:  # fmt: skip
        url = server.event("listening")["url"]
        with Program(
            "send", url, "--open", "--no-video", "--mic", "mic_monitor", "--json", *flags,
            environment=pulse.environment,
        ) as sender:  # fmt: skip
            sender.event("connected")
            playing = pulse.play(noise(20.0), "mic")
            try:
                pulse.record("spk.monitor", 3.0)  # the way fills, and the noise becomes known
                for _ in range(10):
                    heard = loudness(pulse.record("spk.monitor", 1.0))
                    if heard < below:
                        break
            finally:
                playing.kill()
                playing.wait()
            assert sender.end(signal.SIGINT) == 130
    return heard


def loudness(pcm: NDArray[np.int16]) -> float:
    return float(10 * np.log10(np.mean(pcm.astype(float) ** 2)))


def test_noise_in_the_microphone_is_not_sent_with_voice(pulse: Pulse) -> None:
    # Without the flag the two differ by tenths of a decibel. How much is taken away is for tests/unit/test_voice.py to
    # say: here it comes to 7 to 9 dB, by when in its third to fifth second the recording begins.
    as_it_is = heard_of_noise(pulse)
    assert heard_of_noise(pulse, "--voice", below=as_it_is - 4) < as_it_is - 4


def test_voice_without_livekit_ends_with_8_and_names_the_command(pulse: Pulse, tmp_path: Path) -> None:
    (tmp_path / "livekit").mkdir()
    (tmp_path / "livekit" / "__init__.py").write_text("raise ImportError('hidden')\n")
    environment = pulse.environment | {"PYTHONPATH": f"{tmp_path}:{pulse.environment['PYTHONPATH']}"}
    done = run("send", "udpconf://127.0.0.1/#k", "--no-video", "--voice", environment=environment)
    assert done.returncode == 8
    assert INSTALL_COMMAND in done.stderr
    assert "Traceback" not in done.stderr
    assert INSTALL_COMMAND in run("doctor", "--port", "0", environment=environment).stdout


@pytest.mark.parametrize("source", [("--test-pattern",), ("--file", "clip.mp4"), ("--mic", "none")])
def test_voice_without_a_microphone_is_refused(source: tuple[str, ...]) -> None:
    done = run("send", "udpconf://127.0.0.1/#k", "--voice", *source)
    assert done.returncode == 2
    assert "--voice" in done.stderr


@pytest.mark.parametrize(
    ("flags", "environment"),
    [(("--voice", "--stereo"), {}), (("--stereo",), {"UDPCONF_VOICE": "1"})],
)
def test_a_voice_in_stereo_is_refused_before_anything_is_looked_for(
    flags: tuple[str, ...], environment: dict[str, str]
) -> None:
    # Neither a secret nor a camera is there; both would be told with another code.
    done = run("send", "127.0.0.1", "--camera", "97", *flags, environment=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--voice is for one channel and --stereo makes two; leave one of them out." in done.stderr


def test_an_echo_needs_a_sender_that_was_opened_for_a_voice() -> None:
    with (
        udpconf.Server("127.0.0.1", 0, open=True, mux_audio=True) as server,
        udpconf.Sender("127.0.0.1", server.port) as sender,
        pytest.raises(LocalProtocolError, match="voice=True"),
    ):
        sender.played(np.zeros(480, np.int16))
