"""Opus frames: right frequency, level and time, whatever the block length; garbage and loss never raise or click."""

import random

import numpy as np
import pytest
from numpy.typing import NDArray

from udpconf.errors import ConfigError
from udpconf.frames import OPUS_FRAME_US, opus_duration_us
from udpconf.limits import SECOND
from udpconf.media import libopus
from udpconf.media.opus import ENCODER_DELAY_US, FRAME_SAMPLES, OpusEncoder, OpusFramer
from udpconf.media.opus_decoder import OpusDecoder

Pcm = NDArray[np.int16]
RATE = 48_000


def tone(seconds: float, hertz: float = 440.0, amplitude: float = 8000.0) -> Pcm:
    times = np.arange(round(seconds * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * hertz * times)).astype(np.int16)


def loudest_hertz(pcm: Pcm) -> float:
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return float(np.argmax(spectrum) * RATE / len(pcm))


def decibels(pcm: Pcm) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(pcm.astype(float) ** 2)) / 32768))


def blocks(pcm: Pcm) -> list[Pcm]:
    return [pcm[start : start + FRAME_SAMPLES] for start in range(0, len(pcm), FRAME_SAMPLES)]


def through_opus(pcm: Pcm, lost: frozenset[int] = frozenset(), *, native: bool = True) -> Pcm:
    encoder, decoder = OpusEncoder(native=native), OpusDecoder(native=native)
    encoded = [encoder.encode(block) for block in blocks(pcm)]
    return np.concatenate(
        [decoder.conceal() if index in lost else decoder.decode(data) for index, data in enumerate(encoded)]
    )


EITHER = pytest.mark.parametrize("native", [True, False], ids=["ctypes", "PyAV"])


def steps(pcm: Pcm) -> NDArray[np.float64]:
    """The second difference: a click is a spike in it, a tone is not."""
    return np.abs(np.diff(pcm.astype(float), 2))


@EITHER
def test_a_tone_keeps_its_frequency_and_its_level(native: bool) -> None:
    sent = tone(1.0)
    heard = through_opus(sent, native=native)
    assert heard.dtype == np.int16
    assert len(heard) == len(sent)
    assert abs(loudest_hertz(heard[4800:]) - 440) < 2
    assert abs(decibels(heard[4800:]) - decibels(sent[4800:])) < 0.5


def test_a_frame_is_forty_bytes_at_32_kbit_per_second() -> None:
    seed = 1
    voice = np.random.default_rng(seed).normal(0, 3000, RATE).astype(np.int16)
    encoder = OpusEncoder()
    mean = np.mean([len(encoder.encode(block)) for block in blocks(voice)])
    assert 30 < mean < 50, f"seed {seed}"


@EITHER
def test_the_decoded_sound_lags_by_the_delay_that_capture_times_take_off(native: bool) -> None:
    seed = 2
    sent = np.random.default_rng(seed).normal(0, 4000, RATE).astype(np.int16)
    heard = through_opus(sent, native=native)
    size = 2 * RATE
    correlation = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(sent, size)))
    assert int(np.argmax(correlation)) * 1_000_000 / RATE == ENCODER_DELAY_US, f"seed {seed}"


def test_stereo_stays_stereo() -> None:
    encoder, decoder = OpusEncoder(bitrate_bps=64_000, channels=2), OpusDecoder(channels=2)
    both = np.stack((tone(0.5, 440), tone(0.5, 880)), axis=1)
    heard = np.concatenate([decoder.decode(encoder.encode(block)) for block in blocks(both)])
    assert heard.shape == both.shape
    assert abs(loudest_hertz(heard[2400:, 0]) - 440) < 5
    assert abs(loudest_hertz(heard[2400:, 1]) - 880) < 5


@EITHER
def test_bytes_that_are_no_opus_are_counted_and_concealed(native: bool) -> None:
    seed = 3
    random_source = random.Random(seed)
    encoder, decoder = OpusEncoder(native=native), OpusDecoder(native=native)
    garbage = [b"", b"\x00", b"\xff" * 50, bytes(1176)] + [random_source.randbytes(40) for _ in range(200)]
    for data in garbage:
        block = decoder.decode(data)
        # Some of it happens to say that it is 5 or 20 ms.
        assert block.shape == (opus_duration_us(data) * RATE // SECOND,), f"seed {seed}: {data.hex()}"
    assert decoder.broken >= 4
    heard = np.concatenate([decoder.decode(encoder.encode(block)) for block in blocks(tone(0.5))])
    assert abs(decibels(heard[9600:]) - decibels(tone(0.5)[9600:])) < 0.5, (
        "the decoder works on after garbage"
    )


@EITHER
def test_a_single_lost_frame_is_concealed_without_a_click(native: bool) -> None:
    sent = tone(1.0)
    clean = through_opus(sent, native=native)
    heard = through_opus(sent, lost=frozenset({50}), native=native)
    assert steps(heard[RATE // 4 :]).max() < 4 * steps(clean[RATE // 4 :]).max()
    gap = heard[50 * FRAME_SAMPLES : 51 * FRAME_SAMPLES]
    assert decibels(gap) > decibels(clean) - 4, "the tone goes on through the gap"
    assert abs(loudest_hertz(heard[48 * FRAME_SAMPLES : 54 * FRAME_SAMPLES]) - 440) < 20


@EITHER
def test_a_long_loss_fades_to_silence_and_comes_back_without_a_click(native: bool) -> None:
    sent = tone(1.0)
    clean = through_opus(sent, native=native)
    heard = through_opus(sent, lost=frozenset(range(40, 60)), native=native)
    assert not heard[46 * FRAME_SAMPLES : 60 * FRAME_SAMPLES].any(), "silent after 60 ms"
    assert steps(heard[RATE // 4 :]).max() < 4 * steps(clean[RATE // 4 :]).max()
    assert abs(decibels(heard[70 * FRAME_SAMPLES :]) - decibels(clean[70 * FRAME_SAMPLES :])) < 0.5


@EITHER
def test_concealment_before_any_sound_is_silence(native: bool) -> None:
    assert not OpusDecoder(native=native).conceal().any()


def test_the_bit_rate_may_change_between_two_frames() -> None:
    encoder, decoder = OpusEncoder(), OpusDecoder()
    sent = tone(2.0)
    encoded = []
    for number, block in enumerate(blocks(sent)):
        if number == 100:
            encoder.set_bitrate(20_000)
        encoded.append(encoder.encode(block))
    before, after = (np.mean([len(data) for data in part]) for part in (encoded[:100], encoded[100:]))
    assert 38 <= before <= 43
    assert 23 <= after <= 27
    heard = np.concatenate([decoder.decode(data) for data in encoded])
    assert steps(heard[RATE // 4 :]).max() < 2 * steps(sent).max(), "no click"


@pytest.mark.parametrize(
    ("before_bps", "after_bps"), [(64_000, 45_000), (64_000, 29_000), (64_000, 21_000), (45_000, 29_000)]
)
def test_no_frame_is_starved_where_the_bit_rate_falls(before_bps: int, after_bps: int) -> None:
    """At once from 64 to 29 kbit/s there would be a frame of 3 bytes: libopus has back what it spent beforehand."""
    encoder = OpusEncoder(before_bps)
    sizes = []
    for number, block in enumerate(blocks(tone(1.5))):
        if number == 50:
            encoder.set_bitrate(after_bps)
        sizes.append(len(encoder.encode(block)))
    usual = after_bps * OPUS_FRAME_US // 8_000_000
    assert min(sizes[50:]) > 0.5 * usual
    assert 0.95 * usual < np.mean(sizes[75:]) < 1.1 * usual


def test_this_machine_has_a_library_that_ctypes_can_call() -> None:
    library = libopus.load()
    assert library is not None
    assert libopus.Encoder(library, RATE, 1, 32_000).lookahead * 1_000_000 // RATE == ENCODER_DELAY_US


@pytest.mark.parametrize("length", [1, 160, 441, 480, 1024, 4800])
def test_the_framer_cuts_blocks_of_any_length_and_keeps_every_sample(length: int) -> None:
    sent = tone(0.5)
    framer, decoder = OpusFramer(), OpusDecoder()
    frames: list[tuple[bytes, int]] = []
    for start in range(0, len(sent), length):
        frames += framer.push(sent[start : start + length], 7_000_000 + start * 1_000_000 // RATE)
    assert len(frames) == len(sent) // FRAME_SAMPLES
    for index, (_, capture_us) in enumerate(frames):
        assert abs(capture_us - (7_000_000 + 10_000 * index - ENCODER_DELAY_US)) <= 2
    heard = np.concatenate([decoder.decode(data) for data, _ in frames])
    assert np.array_equal(heard, through_opus(sent))


def test_jittery_capture_times_are_smoothed() -> None:
    seed = 4
    random_source = random.Random(seed)
    framer = OpusFramer()
    times = []
    for index in range(500):
        wobble_us = random_source.randrange(-4_000, 4_001)
        times += [at for _, at in framer.push(np.zeros(480, np.int16), 10_000 * index + wobble_us)]
    errors = [at + ENCODER_DELAY_US - 10_000 * index for index, at in enumerate(times)][50:]
    assert max(abs(error) for error in errors) < 2_000, f"seed {seed}"
    assert framer.jumps == 0


def test_a_sound_card_that_runs_fast_is_followed() -> None:
    framer = OpusFramer()
    last_us = 0
    for index in range(2_000):
        last_us = framer.push(np.zeros(480, np.int16), index * 9_998)[-1][1]  # 200 ppm
    assert abs(last_us + ENCODER_DELAY_US - 1_999 * 9_998) < 100


def test_a_jump_in_capture_time_starts_counting_again() -> None:
    framer = OpusFramer()
    framer.push(np.zeros(700, np.int16), 0)
    frames = framer.push(np.zeros(480, np.int16), 500_000)
    assert [at for _, at in frames] == [500_000 - ENCODER_DELAY_US]
    assert framer.jumps == 1


def test_stereo_is_mixed_down_for_a_mono_stream() -> None:
    left = tone(0.1)
    frames = OpusFramer().push(np.stack((left, np.zeros_like(left)), axis=1), 0)
    decoder = OpusDecoder()
    heard = np.concatenate([decoder.decode(data) for data, _ in frames])
    assert abs(decibels(heard[960:]) - (decibels(left[960:]) - 6)) < 1


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros(480, np.float32),
        np.zeros((2, 3, 4), np.int16),
        np.zeros((480, 9), np.int16),
        [0] * 480,
        np.int16(3),
    ],
)
def test_sound_of_another_type_or_shape_is_a_config_error(wrong: Pcm) -> None:
    with pytest.raises(ConfigError, match="sound"):
        OpusFramer().push(wrong, 0)


def test_an_empty_block_gives_no_frame() -> None:
    assert OpusFramer().push(np.zeros(0, np.int16), 0) == []
