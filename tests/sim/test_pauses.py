"""Silence that is not sent, from the microphone to the listener, in virtual time."""

import numpy as np
import pytest

from tests.pauses import Heard, listen, talk, without_a_network
from udpconf.frames import is_silence_mark
from udpconf.limits import MS, SECOND
from udpconf.media.silence import HANGOVER_US, MARK_INTERVAL_US, MARKS_AT_FIRST
from udpconf.proto.audio_jitter import GAP_US
from udpconf.wire.frames import AudioPacket

# Each is spoken for 2 s; the last pause goes on to the end.
LONG = [(2.0, 5.0), (2.0, 5.0), (2.0, 5.0)]
# Where the first pause has begun for sure, and is not over: the last frame that is sent has left the encoder.
PAUSE_S = (2 + HANGOVER_US / SECOND + 0.1, 6.9)
PCM, BEGINS = talk(LONG)
IDEAL = without_a_network(PCM)
# After the end of all sound something is made up for so long.
END_US = GAP_US


def made_up_us(heard: Heard) -> int:
    return (heard.counts.lost + heard.counts.stretched) * 10 * MS


@pytest.mark.parametrize("loss", [0.0, 0.2])
@pytest.mark.parametrize("frame_us", [5 * MS, 10 * MS, 20 * MS])
def test_silence_costs_next_to_nothing(frame_us: int, loss: float) -> None:
    heard = listen(PCM, loss=loss, frame_us=frame_us)
    assert heard.kbps(*PAUSE_S) < 2
    assert heard.kbps(0.1, 1.9) > 30


def test_a_pause_without_losses_makes_nothing_up() -> None:
    heard = listen(PCM)
    assert heard.counts.lost == 0
    assert made_up_us(heard) < END_US  # after the last of all, as ever
    assert heard.counts.silent_us >= 3 * (5 * SECOND - HANGOVER_US) - END_US


@pytest.mark.parametrize("jitter_us", [0, 30 * MS])
@pytest.mark.parametrize("frame_us", [5 * MS, 10 * MS, 20 * MS])
def test_speech_after_a_pause_is_heard_whole_and_no_later_than_before(jitter_us: int, frame_us: int) -> None:
    heard = listen(PCM, jitter_us=jitter_us, frame_us=frame_us)
    for begin in BEGINS[1:]:
        assert heard.beginning(IDEAL, begin) > 0.97
        before, after = heard.delay_ms(begin - 6, begin - 5.5), heard.delay_ms(begin, begin + 0.1)
        assert after <= before + 3


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_where_packets_are_lost_the_first_frames_come_with_the_next_ones(seed: int) -> None:
    sound, begins = talk([(1.0, 2.0)] * 8, seed=seed)
    ideal = without_a_network(sound)
    heard = listen(sound, loss=0.05, jitter_us=10 * MS, seed=seed)
    likenesses = [heard.beginning(ideal, begin) for begin in begins[1:]]
    assert np.median(likenesses) > 0.97
    assert min(likenesses) > 0.8
    assert heard.counts.lost <= 8


def test_on_a_path_that_loses_the_first_packet_of_speech_may_be_one_of_them() -> None:
    seen: list[bool] = []

    def is_lost(packet: AudioPacket) -> bool:
        mark = is_silence_mark(packet.blocks[0].data)
        first = bool(seen) and seen[-1] and not mark
        seen.append(mark)
        return first or (not mark and len(seen) % 30 == 20)  # never two in a row

    heard = listen(PCM, jitter_us=10 * MS, is_lost=is_lost)
    assert all(heard.beginning(IDEAL, begin) > 0.97 for begin in BEGINS[1:])
    assert heard.counts.lost == 0


def test_who_loses_every_mark_makes_up_a_little_and_then_hears_silence() -> None:
    heard = listen(PCM, is_lost=lambda packet: is_silence_mark(packet.blocks[0].data))
    pauses, marks = len(BEGINS), sum(mark for _, _, mark in heard.datagrams)
    assert made_up_us(heard) <= pauses * GAP_US + marks * 10 * MS
    assert marks <= pauses * (MARKS_AT_FIRST + 5 * SECOND // MARK_INTERVAL_US)
    assert np.abs(heard.sound(PAUSE_S[0] + 0.2, 4)).max() == 0
    assert all(heard.beginning(IDEAL, begin) > 0.97 for begin in BEGINS[1:])


def test_who_loses_the_first_marks_rests_from_the_next_one_on() -> None:
    marks = 0

    def is_lost(packet: AudioPacket) -> bool:
        nonlocal marks
        marks = marks + 1 if is_silence_mark(packet.blocks[0].data) else 0
        return 0 < marks <= MARKS_AT_FIRST

    heard = listen(PCM, is_lost=is_lost)
    assert heard.counts.silent_us >= 3 * (5 * SECOND - HANGOVER_US - MARK_INTERVAL_US) - END_US
    assert heard.counts.lost == 0
    assert made_up_us(heard) <= 4 * GAP_US


def test_in_a_pause_listeners_get_silence_without_a_break_and_without_a_click() -> None:
    heard = listen(PCM)
    times = [capture_us for _, capture_us, _ in heard.blocks]
    resting = [at for at in times if PAUSE_S[0] * SECOND <= at <= PAUSE_S[1] * SECOND]
    assert set(np.diff(resting)) == {5 * MS}
    taken = [at_us for at_us, _, _ in heard.blocks]
    assert set(np.diff(taken)) == {5 * MS}
    pause = heard.sound(PAUSE_S[0], 4)
    assert not pause.any()
    noise = np.abs(IDEAL[round(2.1 * 48_000) : round(2.3 * 48_000)]).max()
    around = heard.sound(2.2, 0.4)
    assert np.abs(np.diff(around)).max() <= 2 * noise


def test_the_delay_is_known_while_it_rests() -> None:
    """Pictures are held back by it."""
    heard = listen(PCM)
    speaking, resting = heard.delay_ms(1.5, 1.9), heard.delay_ms(4, 6)
    assert abs(resting - speaking) <= 5
