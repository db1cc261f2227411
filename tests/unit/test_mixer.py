"""Mixing never wraps and never clicks, and leaves one voice as it is."""

import numpy as np
import pytest
from numpy.typing import NDArray

from udpconf.media.mixer import CEILING, Mixer, Mute, crossfade, peak_of, peaks_of

Pcm = NDArray[np.int16]
RATE = 48_000


def tone(hertz: float, amplitude: float, samples: int = 48_000, channels: int = 1) -> Pcm:
    wave = amplitude * np.sin(2 * np.pi * hertz * np.arange(samples) / RATE)
    return np.repeat(wave.astype(np.int16)[:, np.newaxis], channels, axis=1)


def in_blocks(mixer: Mixer, *voices: Pcm) -> Pcm:
    starts = range(0, len(voices[0]), 480)
    return np.concatenate([mixer.mix([voice[start : start + 480] for voice in voices]) for start in starts])


def bends(pcm: Pcm) -> float:
    return float(np.abs(np.diff(pcm[:, 0].astype(float), 2)).max())


def test_one_voice_comes_out_bit_for_bit() -> None:
    voice = tone(440, 20_000)
    assert np.array_equal(in_blocks(Mixer(), voice), voice)


def test_quiet_voices_are_summed() -> None:
    one, other = tone(440, 5_000, channels=2), tone(1_000, 6_000, channels=2)
    assert np.array_equal(in_blocks(Mixer(), one, other), one + other)


@pytest.mark.parametrize("count", [2, 5, 50])
def test_many_loud_voices_neither_wrap_nor_click(count: int) -> None:
    voices = [tone(300, 30_000) for _ in range(count)]
    mixed = in_blocks(Mixer(), *voices)
    settled = mixed[4_800:]
    assert abs(float(np.abs(settled.astype(int)).max()) - CEILING) < 300, "turned down to the ceiling"
    # A sine of this frequency bends by amplitude * omega squared a sample; harmonics of hard clipping would by far more.
    assert bends(settled) < 1.5 * CEILING * (2 * np.pi * 300 / RATE) ** 2
    assert np.all(np.sign(mixed[:, 0]) * np.sign(voices[0][:, 0]) >= 0), "nothing wrapped around"


def test_when_it_gets_loud_at_once_nothing_wraps_or_steps() -> None:
    mixer = Mixer()
    quiet, loud = tone(300, 3_000), tone(300, 32_000)
    mixed = np.concatenate((in_blocks(mixer, quiet, quiet), in_blocks(mixer, loud, loud)))
    assert np.abs(np.diff(mixed[:, 0].astype(int))).max() < 3 * 64_000 * 2 * np.pi * 300 / RATE


def test_after_the_noise_a_voice_is_as_loud_as_before() -> None:
    mixer = Mixer()
    voice = tone(440, 10_000)
    in_blocks(mixer, tone(300, 32_000), tone(300, 32_000))
    assert np.array_equal(in_blocks(mixer, voice)[-4_800:], voice[-4_800:])


@pytest.mark.parametrize("samples", [240, 480, 960])
def test_it_takes_a_third_of_a_second_until_it_is_twice_as_loud_again_however_long_blocks_are(
    samples: int,
) -> None:
    mixer = Mixer()
    mixer.mix([np.full((samples, 1), round(2 * CEILING / 5), np.int16)] * 5)
    quiet = np.full((samples, 1), 10_000, np.int16)
    heard = np.concatenate([mixer.mix([quiet]) for _ in range(RATE // samples)])[:, 0]
    assert heard[0] < 5_200
    assert 0.3 < np.count_nonzero(heard < 10_000) / RATE < 0.4


def test_blocks_of_different_lengths_are_not_mixed() -> None:
    with pytest.raises(ValueError, match="shape"):
        Mixer().mix([tone(300, 100, 480), tone(300, 100, 240), tone(300, 100, 240)])


def test_the_lowest_sample_there_is_does_not_wrap() -> None:
    mixed = Mixer().mix([np.full((480, 1), -32_768, np.int16)] * 3)
    assert mixed.max() < 0


def test_mute_fades_over_one_block_and_back() -> None:
    mute = Mute()
    block = np.full((480, 1), 10_000, np.int16)
    assert np.array_equal(mute.apply(block, muted=False), block)
    down = mute.apply(block, muted=True)
    assert (down[0, 0], down[-1, 0]) == (10_000, 0)
    assert np.abs(np.diff(down[:, 0].astype(int))).max() < 30
    assert not mute.apply(block, muted=True).any()
    up = mute.apply(block, muted=False)
    assert (up[0, 0], up[-1, 0]) == (0, 10_000)
    assert np.array_equal(mute.apply(block, muted=False), block)


def test_a_crossfade_of_full_scale_does_not_wrap() -> None:
    top = np.full((480, 1), 32_767, np.int16)
    assert crossfade(top, top).min() > 32_700


def test_the_first_stereo_block_makes_the_mix_stereo_for_good_and_mono_is_doubled() -> None:
    mixer = Mixer()
    mono, stereo = np.full((240, 1), 100, np.int16), np.tile(np.array([[1, -2]], np.int16), (240, 1))
    assert mixer.mix([mono]).shape == (240, 1)
    assert (mixer.mix([mono, stereo]) == [101, 98]).all()
    assert (mixer.mix([mono]) == [100, 100]).all()


@pytest.mark.parametrize("widths", [(1, 1, 1), (2, 2, 2), (1, 2, 1)])
def test_each_voice_s_peak_is_its_largest_magnitude_whatever_the_others_are(widths: tuple[int, ...]) -> None:
    blocks = [tone(440, 1_000 * (index + 1), 240, width) for index, width in enumerate(widths)]
    blocks[1][100] = -32_768
    assert peaks_of(blocks) == [peak_of(block) for block in blocks] == [999.0, 32_768.0, 2_999.0]
