"""Voice processing: noise and echo go, the voice stays, times stay true, and without the library a sentence says so."""

import sys

import numpy as np
import pytest
from numpy.typing import NDArray

import udpconf
from udpconf.errors import ConfigError, MissingDependencyError
from udpconf.limits import SECOND
from udpconf.media.voice import DELAY_US, ECHO_DELAY_US, INSTALL_COMMAND, Voice

Pcm = NDArray[np.int16]
RATE = 48_000


def talk(seconds: float, pitch_hz: float, amplitude: float) -> Pcm:
    """Like somebody talking: harmonics below a formant, four syllables a second, a pause of 1 s in every 4."""
    times = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(pitch_hz * (1 + 0.1 * np.sin(4.4 * times))) / RATE
    voiced = sum(np.sin(k * phase) / (1 + ((k * pitch_hz - 600) / 500) ** 2) for k in range(1, 30))
    voiced *= np.clip(np.sin(4 * np.pi * times), 0, None) * (times % 4 < 3)
    pcm: Pcm = (amplitude * voiced / np.abs(voiced).max()).astype(np.int16)
    return pcm


def noise(seconds: float, amplitude: float, seed: int) -> Pcm:
    return np.random.default_rng(seed).normal(0, amplitude, round(seconds * RATE)).astype(np.int16)


def through(voice: Voice, pcm: Pcm, length: int = 480) -> Pcm:
    return np.concatenate(
        [voice.process(pcm[start : start + length], 0)[0] for start in range(0, len(pcm), length)]
    )


def decibels(pcm: Pcm) -> float:
    return float(10 * np.log10(np.mean(pcm.astype(float) ** 2) + 1e-9))


def second(pcm: Pcm, start_s: float, seconds: float = 1.0) -> Pcm:
    return pcm[round(start_s * RATE) : round((start_s + seconds) * RATE)]


def lag_us(sent: Pcm, heard: Pcm) -> int:
    size = 2 * len(sent)
    correlation = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(sent, size)))
    return int(np.argmax(correlation)) * SECOND // RATE


def test_noise_is_quieter_in_pauses_and_the_voice_is_not() -> None:
    sent = talk(12, 140, 8000) + noise(12, 200, seed=1)
    heard = through(Voice(), sent)
    assert decibels(second(sent, 11.3, 0.6)) - decibels(second(heard, 11.3, 0.6)) > 8, "in a pause"
    assert decibels(second(heard, 8, 3)) > decibels(second(sent, 8, 3)) - 1, "while somebody talks"


def test_a_quiet_voice_gets_louder() -> None:
    sent = talk(12, 140, 800)
    heard = through(Voice(), sent)
    assert decibels(second(heard, 8, 3)) - decibels(second(sent, 8, 3)) > 12


def test_what_the_loudspeaker_plays_is_taken_out_of_what_the_microphone_hears() -> None:
    played = talk(8, 190, 8000)
    echo = np.concatenate((np.zeros(2400, np.int16), (played * 0.3).astype(np.int16)))  # 50 ms later
    voice = Voice()
    heard = []
    for start in range(0, len(played), 480):
        voice.played(played[start : start + 480])
        heard.append(voice.process(echo[start : start + 480], 0)[0])
    assert decibels(second(echo, 5, 2)) - decibels(second(np.concatenate(heard), 5, 2)) > 20


def test_the_loudspeaker_may_give_stereo_in_blocks_of_5_ms() -> None:
    played = talk(8, 190, 8000)
    echo = np.concatenate((np.zeros(2400, np.int16), (played * 0.3).astype(np.int16)))
    voice = Voice()
    heard = []
    for start in range(0, len(played), 240):
        voice.played(np.repeat(played[start : start + 240, np.newaxis], 2, axis=1))
        heard.append(voice.process(echo[start : start + 240], 0)[0])
    assert decibels(second(echo, 5, 2)) - decibels(second(np.concatenate(heard), 5, 2)) > 20


@pytest.mark.parametrize(("speaker", "delay_us"), [(False, DELAY_US), (True, ECHO_DELAY_US)])
def test_the_sound_lags_by_the_delay_that_capture_times_take_off(speaker: bool, delay_us: int) -> None:
    sent = talk(3, 140, 8000)
    voice = Voice()
    if speaker:
        voice.played(np.zeros(480, np.int16))
    heard = []
    for start in range(0, len(sent), 480):
        if speaker:
            voice.played(np.zeros(480, np.int16))
        cleaned, capture_us = voice.process(sent[start : start + 480], 5_000_000 + start * SECOND // RATE)
        assert capture_us == 5_000_000 + start * SECOND // RATE - delay_us
        heard.append(cleaned)
    assert abs(lag_us(sent, np.concatenate(heard)) - delay_us) <= 42, "within two samples"


@pytest.mark.parametrize("length", [1, 160, 441, 480, 1024, 4800])
def test_blocks_of_any_length_come_out_the_same(length: int) -> None:
    sent = talk(1, 140, 8000)[:9600]
    voice = Voice()
    pieces, expected_us = [], -DELAY_US
    for start in range(0, len(sent), length):
        cleaned, capture_us = voice.process(sent[start : start + length], start * SECOND // RATE)
        if len(cleaned):
            assert abs(capture_us - expected_us) <= 2
            expected_us += len(cleaned) * SECOND // RATE
        pieces.append(cleaned)
    assert np.array_equal(np.concatenate(pieces), through(Voice(), sent))


def test_no_sound_at_all_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="sound"):
        Voice().process(np.zeros(480, np.float32), 0)


def test_without_livekit_the_message_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "livekit", None)
    with pytest.raises(MissingDependencyError) as caught:
        udpconf.Sender("127.0.0.1", 9, passphrase="nobody listens there", voice=True)
    assert INSTALL_COMMAND in str(caught.value)
    assert caught.value.exit_code == 8
