"""Where a frame comes after sound was made up in its place, it is entered where the two are alike, and nothing was lost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.unit.test_lost_frames import LOUD, RATE, packets, sweep_packets, voice, worst_rest
from udpconf.app.client_sound import PLAY_SAMPLES, ClientSound
from udpconf.frames import OPUS_FRAME_US
from udpconf.limits import MS
from udpconf.media.opus import FRAME_SAMPLES, OpusEncoder, OpusFramer
from udpconf.media.opus_decoder import RECALLED_MAX, OpusDecoder
from udpconf.media.time_stretch import FADE, enter
from udpconf.proto.audio_target import PLAY_US

Pcm = NDArray[np.int16]
AFTER = 4
WARM_UP = 12


def heard(sent: list[bytes], late: int, made_up: int = 1, channels: int = 1) -> list[Pcm]:
    """Each frame as played, the last of ``made_up`` before the late one."""
    decoder = OpusDecoder(channels)
    played = [decoder.decode(data) for data in sent[:late]]
    played += [decoder.conceal() for _ in range(made_up)]
    played.append(decoder.decode(sent[late], inserted=made_up))
    return played + [decoder.decode(data) for data in sent[late + 1 : late + 1 + AFTER]]


@pytest.mark.parametrize("bitrate_bps", [48_000, 64_000])
def test_a_sweep_goes_through_every_late_frame_below_40_db(bitrate_bps: int) -> None:
    sent = sweep_packets(bitrate_bps)
    for late in range(20, 960, 23):
        part = heard(sent[late - WARM_UP :], WARM_UP)
        sound = np.concatenate(part[WARM_UP - 1 :]).astype(float)
        assert worst_rest(sound, (late - 1) * FRAME_SAMPLES) < -40, f"frame {late}"


@pytest.mark.parametrize("made_up", [1, 2, 5])
def test_what_comes_after_it_is_what_would_have_come_if_it_had_been_in_time(made_up: int) -> None:
    sent = packets(voice(110.0))
    in_time = OpusDecoder()
    expected = [in_time.decode(data) for data in sent[: 40 + AFTER]][40:]
    assert np.array_equal(heard(sent, 39, made_up)[-AFTER:], expected)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("hertz", [110.0, 210.0])
def test_a_voice_keeps_its_periods_where_a_frame_comes_late(hertz: float, channels: int) -> None:
    """At once after what was made up, the periods would be cut wherever they are: the steps would be higher than any in it."""
    sent = packets(voice(hertz, channels=channels))
    for late in range(20, 280, 13):
        played = heard(sent, late, channels=channels)
        entered = played[late + 1]
        assert abs(len(entered) - FRAME_SAMPLES) <= FADE
        around = np.concatenate(played[late - 2 :]).astype(float).reshape(-1, channels)
        usual = np.abs(
            np.diff(np.concatenate(played[: late - 1]).astype(float).reshape(-1, channels), axis=0)
        )
        assert np.abs(np.diff(around, axis=0)).max() <= 1.3 * usual.max()


def test_one_that_was_taken_for_the_frame_after_a_lost_one_is_entered_as_well() -> None:
    """What was made up leads over to it then, and little more is made up beyond it."""
    sent = sweep_packets(32_000)
    for late in range(20, 960, 31):
        decoder = OpusDecoder()
        for data in sent[late - WARM_UP : late]:
            decoder.decode(data)
        decoder.conceal(sent[late])
        assert abs(len(decoder.decode(sent[late], inserted=1)) - FRAME_SAMPLES) <= FADE


@pytest.mark.parametrize("made_up", [1, 2, 3, 4, 5, 6])
def test_however_much_was_made_up_no_step_is_higher_than_the_tone_s_own(made_up: int) -> None:
    sent = packets(LOUD * np.sin(2 * np.pi * 313 * np.arange(RATE) / RATE), 64_000)
    for late in range(30, 40):
        steps = np.diff(np.concatenate(heard(sent, late, made_up)[late - 2 :]).astype(float))
        assert np.abs(steps).max() < 1.2 * LOUD * 2 * np.pi * 313 / RATE


@pytest.mark.parametrize("frame_us", [5 * MS, 10 * MS, 20 * MS])
def test_frames_of_any_length_are_entered_within_5_ms_of_their_beginning(frame_us: int) -> None:
    encoder = OpusEncoder(64_000, frame_us=frame_us)
    noise = np.random.default_rng(1).normal(0, 3_000, RATE).astype(np.int16)
    sent = [encoder.encode(block) for block in noise.reshape(-1, encoder.frame_samples)]
    for late in range(10, 40):
        decoder = OpusDecoder()
        for data in sent[:late]:
            decoder.decode(data)
        decoder.conceal(samples=encoder.frame_samples)
        assert abs(len(decoder.decode(sent[late], inserted=1)) - encoder.frame_samples) <= FADE


def test_what_was_made_up_by_a_sender_of_nothing_but_noise_is_not_kept_for_ever() -> None:
    decoder = OpusDecoder()
    for _ in range(200):
        decoder.decode(b"\xff\xff\xff")
    assert len(decoder._made_up) == RECALLED_MAX


def test_after_a_pause_that_faded_out_it_fades_in() -> None:
    sent = packets(LOUD * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE))
    entered = heard(sent, 40, made_up=8)[48].astype(float)
    assert len(entered) == FRAME_SAMPLES
    assert np.abs(entered[:24]).max() < LOUD / 10
    assert np.abs(entered[-240:]).max() > LOUD * 0.9


def test_a_late_frame_that_is_no_opus_is_concealed_as_any_other() -> None:
    sent = packets(voice(210.0))
    decoder = OpusDecoder()
    for data in sent[:20]:
        decoder.decode(data)
    decoder.conceal()
    assert len(decoder.decode(b"\xff\xff\xff", inserted=1)) > 0
    assert decoder.broken == 1
    assert len(decoder.decode(sent[21])) == FRAME_SAMPLES


@settings(max_examples=60, deadline=None)
@given(
    what=st.lists(
        st.sampled_from(["frame", "lost", "lost before it", "late", "late after a loss", "noise"]),
        max_size=25,
    ),
    channels=st.sampled_from([1, 2]),
    native=st.booleans(),
)
def test_in_whatever_order_frames_are_lost_and_late_sound_comes(
    what: list[str], channels: int, native: bool
) -> None:
    sent = packets(voice(110.0, 0.6, channels))
    decoder, made_up = OpusDecoder(channels, native=native), 0
    waiting = iter(sent)
    data = next(waiting)
    for event in what:
        if event.startswith("lost"):
            block = decoder.conceal(data if event == "lost before it" else None)
            made_up += 1
        elif event == "noise":
            block = decoder.decode(b"\xf3" + data[1:40], inserted=made_up)
        else:
            late = {"frame": 0, "late": made_up}.get(event, max(0, made_up - 1))
            block, made_up = decoder.decode(data, inserted=late), 0
            data = next(waiting)
        assert block.dtype == np.int16
        assert block.shape[1:] == (() if channels == 1 else (2,))
        assert event == "noise" or abs(len(block) - FRAME_SAMPLES) <= FADE


def test_it_is_entered_at_the_place_that_is_most_alike_and_nearest_to_its_beginning() -> None:
    """Of a tone of 1 kHz each 48th sample is as good; what is playing is 10 samples ahead of the block's beginning."""
    time = np.arange(1_000)
    wave = np.rint(LOUD * np.sin(2 * np.pi * 1_000 * time / RATE)).astype(np.int16)[:, np.newaxis]
    before, block, playing = wave[:240], wave[240:720], wave[250:490]
    entered = enter(block, before, playing)
    assert len(entered) == len(block) - 10
    assert np.abs(entered.astype(int) - wave[250:720]).max() <= 1


def tone_late_by(late_us: int, hertz: float = 440.0) -> tuple[ClientSound, list[tuple[int, Pcm]]]:
    """(what played, and each 5 ms of it with its capture time): a tone over a path of 5 ms, on which frame 60 and those behind it stay
    back for so long."""
    framer, sound = OpusFramer(OpusEncoder(64_000)), ClientSound(0)
    wave = np.rint(LOUD * np.sin(2 * np.pi * hertz * np.arange(2 * RATE) / RATE)).astype(np.int16)
    came: list[tuple[int, int, int, bytes]] = []
    held_us = 60 * OPUS_FRAME_US + late_us
    for number in range(200):
        (frame,) = framer.push(wave[number * FRAME_SAMPLES :][:FRAME_SAMPLES], number * OPUS_FRAME_US)
        at_us = (number + 1) * OPUS_FRAME_US + 5 * MS
        came.append((max(at_us, held_us + 15 * MS) if number >= 60 else at_us, number, frame[1], frame[0]))
    played = []
    for now_us in range(PLAY_US, 2_000_000, PLAY_US):
        while came and came[0][0] <= now_us:
            arrival_us, number, capture_us, data = came.pop(0)
            sound.buffer.push(number, capture_us, data, arrival_us)
        pcm = sound.play(now_us, 0, audible=True)
        if pcm is not None:
            played.append((sound.capture_us, pcm[:, 0].copy()))
    return sound, played


@pytest.mark.parametrize("late_us", [17 * MS, 20 * MS, 22 * MS])
def test_a_client_whose_frames_come_late_is_heard_without_a_break_and_knows_what_is_playing(
    late_us: int,
) -> None:
    sound, played = tone_late_by(late_us)
    assert 1 <= sound.buffer.counts.stretched <= 2
    assert sound.buffer.counts.lost == 0
    time = np.arange(PLAY_SAMPLES) / RATE
    base = np.stack((np.cos(2 * np.pi * 440 * time), np.sin(2 * np.pi * 440 * time)), axis=1)
    for capture_us, pcm in played[20:-10]:
        cosine, sine = np.linalg.lstsq(base, pcm.astype(float), rcond=None)[0]
        rest = pcm - base @ (cosine, sine)
        assert 10 * np.log10(2 * np.mean(rest**2) / 32_767**2) < -40
        # From 40 ms after it on the capture time is that of frames again.
        if capture_us > 60 * OPUS_FRAME_US + 40 * MS:
            off = np.angle(np.exp(1j * (np.arctan2(cosine, sine) - 2 * np.pi * 440 * capture_us / 1e6)))
            assert abs(off) / (2 * np.pi * 440) < 0.000_3
