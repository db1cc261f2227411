"""Which frames are silent, and what is sent of them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from udpconf.frames import is_silence_mark, opus_duration_us, silence_mark
from udpconf.limits import MS, SECOND
from udpconf.media.opus import OpusEncoder, OpusFramer
from udpconf.media.opus_decoder import OpusDecoder
from udpconf.media.silence import HANGOVER_US, MARK_INTERVAL_US, MARKS_AT_FIRST, SilenceGate

Pcm = NDArray[np.int16]
DATA = b"\xf0opus"
MARK = b"\xf0"


def noise(db: float, seconds: float, seed: int = 1) -> Pcm:
    """White, of so many dB of full scale."""
    loudness = 32_768 * 10 ** (db / 20)
    normal = np.random.default_rng(seed).normal(0, loudness, (round(seconds * 48_000), 1))
    return np.rint(normal).astype(np.int16)


def passed(gate: SilenceGate, pcm: Pcm, samples: int = 480) -> list[bytes | None]:
    return [gate.sent(pcm[at : at + samples], DATA) for at in range(0, len(pcm), samples)]


def test_after_400_ms_of_silence_there_are_three_marks_and_then_one_in_a_while() -> None:
    gate = SilenceGate(10 * MS)
    sent = passed(gate, noise(-70, 3))
    held = HANGOVER_US // (10 * MS)
    assert sent[:held] == [DATA] * held
    marks = [number for number, data in enumerate(sent) if data == MARK]
    every = MARK_INTERVAL_US // (10 * MS)
    assert marks[:MARKS_AT_FIRST] == [held, held + 1, held + 2]
    assert set(np.diff(marks[MARKS_AT_FIRST - 1 :])) == {every}
    assert len([data for data in sent if data is not None]) == held + len(marks)
    assert gate.silent_us == 3 * SECOND - HANGOVER_US


def test_the_first_frame_that_is_louder_is_sent_and_so_are_400_ms_after_it() -> None:
    gate = SilenceGate(10 * MS)
    passed(gate, noise(-70, 2))
    assert passed(gate, noise(-40, 0.01)) == [DATA]
    assert passed(gate, noise(-70, 0.4)) == [DATA] * 40
    assert passed(gate, noise(-70, 0.05)) == [MARK] * 3 + [None] * 2


@pytest.mark.parametrize("room_db", [-85, -70, -62, -55, -50])
def test_the_noise_of_a_room_is_silence_and_a_voice_above_it_is_not(room_db: float) -> None:
    gate = SilenceGate(10 * MS)
    passed(gate, noise(-20, 10))  # somebody has talked for a while
    assert None in passed(gate, noise(room_db, 2))
    assert passed(gate, noise(max(-52, room_db + 10), 0.1)) == [DATA] * 10


@pytest.mark.parametrize("level_db", [-44, -30, -10])
def test_what_goes_on_as_loud_as_speech_is_never_silence(level_db: float) -> None:
    assert None not in passed(SilenceGate(10 * MS), noise(level_db, 30))


def test_a_constant_that_a_sound_card_adds_is_not_heard() -> None:
    assert None in passed(SilenceGate(10 * MS), noise(-70, 2) + np.int16(600))


def test_of_two_channels_the_louder_one_counts() -> None:
    quiet, loud = noise(-70, 2), noise(-30, 2)
    assert None not in passed(SilenceGate(10 * MS), np.hstack((quiet, loud)))
    assert None in passed(SilenceGate(10 * MS), np.hstack((quiet, quiet)))


@pytest.mark.parametrize("frame_us", [5 * MS, 10 * MS, 20 * MS])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_mark_is_an_opus_packet_as_long_as_the_frame_it_stands_for(frame_us: int, channels: int) -> None:
    encoder = OpusEncoder(channels=channels, frame_us=frame_us)
    data = encoder.encode(noise(-30, frame_us / SECOND))
    mark = silence_mark(data)
    assert is_silence_mark(mark)
    assert not is_silence_mark(data)
    assert opus_duration_us(mark) == frame_us
    decoder = OpusDecoder(channels)
    decoder.decode(data)
    assert len(decoder.decode(mark)) == frame_us * 48_000 // SECOND
    assert decoder.broken == 0


def test_the_times_of_what_is_sent_are_those_of_their_capture() -> None:
    pcm = np.concatenate((noise(-20, 1), noise(-70, 2), noise(-20, 1)))
    all_of_it = {capture_us: data for data, capture_us in OpusFramer().push(pcm, 0)}
    sent = OpusFramer(gate=SilenceGate(10 * MS)).push(pcm, 0)
    assert len(sent) < len(all_of_it)
    for data, capture_us in sent:
        assert data in (all_of_it[capture_us], silence_mark(all_of_it[capture_us]))


@pytest.mark.parametrize("native", [True, False])
def test_fading_out_leaves_the_decoder_as_it_was(native: bool) -> None:
    encoder = OpusEncoder(native=native)
    times = np.arange(48_000) / 48_000
    tone = (8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)
    frames = [encoder.encode(tone[at : at + 480]) for at in range(0, 48_000, 480)]
    whole, paused = OpusDecoder(native=native), OpusDecoder(native=native)
    for data in frames[:50]:
        whole.decode(data)
        before = paused.decode(data)
    faded = paused.fade_out(240)
    assert len(faded) == 240
    assert abs(int(faded[0]) - int(before[-1])) < 1000
    assert faded[-1] == 0
    if native:
        assert all(np.array_equal(whole.decode(data), paused.decode(data)) for data in frames[50:])
