"""Single lost frames are bridged: a sweep and a voice go on through them, and what follows is decoded as if none was lost."""

import ctypes
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from udpconf.media import libopus
from udpconf.media.opus import FRAME_SAMPLES, OpusEncoder
from udpconf.media.opus_decoder import OpusDecoder

Pcm = NDArray[np.int16]
Samples = NDArray[np.float64]
RATE = 48_000
LOUD = 8_230  # -12 dB of full scale
SLOPE = 380.0  # 200 Hz to 4 kHz in 10 s
LOOKAHEAD = 120


@cache
def sweep_packets(bitrate_bps: int) -> list[bytes]:
    time = np.arange(10 * RATE) / RATE
    return packets(LOUD * np.sin(2 * np.pi * (200 * time + SLOPE / 2 * time**2)), bitrate_bps)


def packets(wave: Samples, bitrate_bps: int = 32_000) -> list[bytes]:
    encoder = OpusEncoder(bitrate_bps, channels=1 if wave.ndim == 1 else 2)
    pcm = np.rint(wave).astype(np.int16)
    return [
        encoder.encode(pcm[start : start + FRAME_SAMPLES])
        for start in range(0, len(pcm) - FRAME_SAMPLES + 1, FRAME_SAMPLES)
    ]


def heard(
    sent: list[bytes], lost: frozenset[int] = frozenset(), *, peek: bool = True, channels: int = 1
) -> Samples:
    decoder = OpusDecoder(channels)
    played = []
    for index, data in enumerate(sent):
        following = sent[index + 1] if peek and index + 1 < len(sent) and index + 1 not in lost else None
        played.append(decoder.conceal(following) if index in lost else decoder.decode(data))
    return np.concatenate(played).astype(float)


def worst_rest(part: Samples, first: int) -> float:
    """What remains of each 5 ms beside the sweep fitted to it, at the worst: dB of a full-scale sine's power.

    ``first``: which sample of the decoded sweep the part begins with.
    """
    worst = 0.0
    time = (np.arange(240) - 120) / RATE
    for start in range(0, len(part) - 239, 240):
        hertz = 200 + SLOPE * (first + start + 120 - LOOKAHEAD) / RATE
        least = np.inf
        for off in np.linspace(-6, 6, 13):
            phase = 2 * np.pi * ((hertz + off) * time + SLOPE / 2 * time**2)
            base = np.stack((np.cos(phase), np.sin(phase)), axis=1)
            window = part[start : start + 240]
            rest = window - base @ np.linalg.lstsq(base, window, rcond=None)[0]
            least = min(least, float(np.mean(rest**2)))
        worst = max(worst, least)
    return float(10 * np.log10(2 * worst / 32_767**2))


def around(sent: list[bytes], lost: int, *, peek: bool = True, row: int = 1) -> tuple[float, float]:
    """The worst rest from 10 ms before the lost frame (or so many in a row) to 40 ms after it, and the same where nothing is lost."""
    part = sent[lost - 20 : lost + row + 5]
    first = (lost - 1) * FRAME_SAMPLES
    one, other = (
        worst_rest(heard(part, missing, peek=peek)[19 * FRAME_SAMPLES :], first)
        for missing in (frozenset(range(20, 20 + row)), frozenset())
    )
    return one, other


@pytest.mark.parametrize("offset", [0, 5, 13])
def test_a_sweep_goes_through_every_single_lost_frame_below_40_db(offset: int) -> None:
    for lost in range(20 + offset, 960, 23):
        rest, _ = around(sweep_packets(64_000), lost)
        assert rest < -40, f"frame {lost}"


@pytest.mark.parametrize("offset", [0, 3, 9, 16])
def test_where_the_next_frame_is_not_there_yet_a_sweep_goes_on_as_well(offset: int) -> None:
    """Among these are frames 348, 670, 749 and 785, before which the encoder changed its comb filter, or may have."""
    losts = {*range(20 + offset, 960, 23), 348, 670, 749, 785}
    for lost in losts:
        rest, _ = around(sweep_packets(64_000), lost, peek=False)
        assert rest < -40, f"frame {lost}"


@pytest.mark.parametrize("peek", [False, True])
def test_two_lost_in_a_row_are_bridged_as_well(peek: bool) -> None:
    """By libopus from the second on, -32 were left in the middle."""
    rests = [around(sweep_packets(64_000), lost, peek=peek, row=2)[0] for lost in range(25, 950, 31)]
    assert np.median(rests) < -45
    assert max(rests) < -35


def test_at_32_kbit_per_second_a_lost_frame_is_no_worse_than_what_opus_itself_leaves() -> None:
    """Of the sweep where nothing is lost -36 dB are left at the worst, so -40 cannot be kept to."""
    pairs = [around(sweep_packets(32_000), lost) for lost in range(20, 960, 23)]
    rests, without = np.array(pairs).T
    assert rests.max() < max(-40, without.max()) + 1
    assert np.median(rests) < np.median(without) + 1
    assert np.median(rests) < -40


def voice(hertz: float, seconds: float = 3.0, channels: int = 1) -> Samples:
    """Harmonics of a pitch that goes up and down, syllable by syllable."""
    time = np.arange(round(seconds * RATE)) / RATE
    turns = hertz * (time + 0.02 * np.sin(2 * np.pi * 1.3 * time))
    buzz = sum(
        (700 / k**0.5 * np.cos(2 * np.pi * k * turns + k * k) for k in range(1, 25)), np.zeros(len(time))
    )
    wave = buzz * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * time))
    return wave if channels == 1 else np.stack((wave, wave * 0.4), axis=1)


@pytest.mark.parametrize("hertz", [110.0, 210.0])
@pytest.mark.parametrize(("every", "row"), [(20, 1), (5, 1), (20, 2)])
def test_a_voice_comes_nearer_to_what_was_sent_than_by_libopus_alone(
    hertz: float, every: int, row: int
) -> None:
    sent = packets(voice(hertz))
    lost = frozenset(first + place for first in range(12, len(sent) - 3, every) for place in range(row))
    clean = heard(sent)

    def signal_to_noise(peek_from: Samples) -> float:
        return float(10 * np.log10(np.sum(clean**2) / np.sum((peek_from - clean) ** 2)))

    bridged = signal_to_noise(heard(sent, lost))
    alone = signal_to_noise(by_libopus_alone(sent, lost))
    assert bridged > alone + 2


def by_libopus_alone(sent: list[bytes], lost: frozenset[int]) -> Samples:
    library = libopus.load()
    assert library is not None
    decoder = libopus.Decoder(library, RATE, 1)
    played = [
        decoder.conceal(FRAME_SAMPLES) if index in lost else decoder.decode(data, FRAME_SAMPLES)
        for index, data in enumerate(sent)
    ]
    return np.concatenate([block[:, 0] for block in played if block is not None]).astype(float)


def test_two_channels_stay_where_they_are() -> None:
    sent = packets(voice(210.0, 1.0, channels=2), 64_000)
    played = heard(sent, frozenset({30, 50, 70}), channels=2)
    for lost in (30, 50, 70):
        one, other = played[lost * FRAME_SAMPLES : (lost + 1) * FRAME_SAMPLES].T
        assert 0.3 < np.sqrt(np.mean(other**2) / np.mean(one**2)) < 0.5


def test_a_burst_goes_over_into_libopus_own_concealment_and_fades() -> None:
    sent = sweep_packets(64_000)[100:160]
    played = heard(sent, frozenset(range(30, 45)))
    steps = np.abs(np.diff(played[9_600:], 2))
    assert steps.max() < 4 * np.abs(np.diff(heard(sent)[9_600:], 2)).max(), "no click"
    assert not played[36 * FRAME_SAMPLES : 45 * FRAME_SAMPLES].any(), "silent after 60 ms"


def test_hiss_is_left_to_libopus() -> None:
    seed = 5
    sent = packets(np.random.default_rng(seed).normal(0, 3_000, RATE))
    lost = frozenset({40})
    assert np.array_equal(heard(sent, lost), by_libopus_alone(sent, lost)), f"seed {seed}"


@pytest.mark.parametrize("garbage", [b"", b"\x00", b"\xff" * 50])
def test_a_following_frame_that_is_no_opus_does_no_harm(garbage: bytes) -> None:
    sent = packets(voice(210.0, 1.0))
    decoder = OpusDecoder()
    for data in sent[:40]:
        decoder.decode(data)
    assert decoder.conceal(garbage).shape == (FRAME_SAMPLES,)
    assert decoder.decode(sent[41]).any()


def silk_packets(wave: Samples) -> list[bytes]:
    """As from an encoder for telephony with in-band FEC: ours has none (<opus_defines.h> for the numbers)."""
    library = libopus.load()
    assert library is not None
    state = library.opus_encoder_create(RATE, 1, 2048, ctypes.byref(ctypes.c_int()))
    for request, value in ((4002, 32_000), (4012, 1), (4014, 20), (4024, 3001)):  # rate, FEC, loss, voice
        library.opus_encoder_ctl(state, request, ctypes.c_int32(value))
    out = ctypes.create_string_buffer(1275)
    pcm = np.rint(wave).astype(np.int16)
    sent = []
    for start in range(0, len(pcm), FRAME_SAMPLES):
        block = np.ascontiguousarray(pcm[start : start + FRAME_SAMPLES])
        into = block.ctypes.data_as(ctypes.POINTER(ctypes.c_int16))
        sent.append(out.raw[: library.opus_encode(state, into, FRAME_SAMPLES, out, 1275)])
    library.opus_encoder_destroy(state)
    return sent


def test_a_packet_with_in_band_fec_brings_the_lost_one_before_it_back() -> None:
    sent = silk_packets(voice(150.0))
    lost = frozenset(range(20, len(sent) - 1, 7))
    clean, alone, recovered = heard(sent), heard(sent, lost, peek=False), heard(sent, lost)
    where = np.concatenate([np.arange(FRAME_SAMPLES) + index * FRAME_SAMPLES for index in lost])
    errors = [float(np.sum((played - clean)[where] ** 2)) for played in (alone, recovered)]
    assert errors[1] < errors[0] / 2


def test_our_own_packets_hold_no_fec_and_give_what_libopus_makes_up() -> None:
    library = libopus.load()
    assert library is not None
    sent = packets(voice(150.0, 0.5))
    one, other = libopus.Decoder(library, RATE, 1), libopus.Decoder(library, RATE, 1)
    for data in sent[:30]:
        one.decode(data, FRAME_SAMPLES)
        other.decode(data, FRAME_SAMPLES)
    recovered, made_up = one.recover(sent[31], FRAME_SAMPLES), other.conceal(FRAME_SAMPLES)
    assert recovered is not None
    assert made_up is not None
    assert np.array_equal(recovered, made_up)
