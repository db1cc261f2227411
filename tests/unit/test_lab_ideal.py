"""The ideal is the k-th arrival of the packets sent for a frame, and never where fewer arrived."""

import numpy as np

from tools.lab.figures import Shown, frozen_us
from tools.lab.ideal import SentFrame, ideal_us, with_parity
from tools.lab.link_log import CONTROL, MEDIA, NEVER, PARITY, SOUND, Packets

SECOND = 1_000_000


def packets(*rows: tuple[int, int]) -> Packets:
    """(sent_us, due_us) of packets of 1000 bytes."""
    array = np.array(rows, np.int64).reshape(-1, 2)
    return Packets(array[:, 0], array[:, 1], np.full(len(array), 1000, np.int64))


def media(packets: Packets) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.full(len(packets.size), MEDIA, np.int64)


def test_without_overhead_the_last_arrival_counts() -> None:
    sent = packets((10, 110), (11, 140), (12, 112))
    assert ideal_us([SentFrame(7, 10)], sent, media(sent)) == {7: 140}


def test_without_overhead_a_frame_with_a_lost_packet_is_never_whole() -> None:
    sent = packets((10, 110), (11, NEVER), (40, 141))
    assert ideal_us([SentFrame(0, 10), SentFrame(1, 40)], sent, media(sent)) == {1: 141}


def test_with_overhead_any_k_packets_do() -> None:
    sent = packets((10, 110), (11, NEVER), (12, 112), (13, 113), (14, 130))
    kinds = np.array([MEDIA, MEDIA, MEDIA, MEDIA, PARITY])
    assert ideal_us([SentFrame(0, 10)], sent, kinds) == {0: 130}
    kinds[3] = PARITY
    assert ideal_us([SentFrame(0, 10)], sent, kinds) == {0: 113}


def test_parity_is_known_by_its_length() -> None:
    sent_us = np.array([10, 11, 12, 13, 40, 41, 42])
    size = np.array([900, 1000, 1007, 1007, 800, 1000, 70])
    sent = Packets(sent_us, sent_us + 100, size)
    kinds = np.array([MEDIA] * 6 + [CONTROL])
    found = with_parity([SentFrame(0, 10), SentFrame(1, 40)], sent, kinds)
    assert found.tolist() == [MEDIA, MEDIA, PARITY, PARITY, MEDIA, MEDIA, CONTROL]
    assert kinds.tolist() == [MEDIA] * 6 + [CONTROL]


def test_sound_and_control_hold_no_picture() -> None:
    sent = packets((10, 110), (11, 999), (12, 888))
    assert ideal_us([SentFrame(0, 10)], sent, np.array([MEDIA, SOUND, CONTROL])) == {0: 110}


def test_a_frame_of_which_nothing_was_sent_has_no_ideal() -> None:
    sent = packets((50, 60))
    assert ideal_us([SentFrame(0, 10), SentFrame(1, 40)], sent, media(sent)) == {1: 60}


def test_repetitions_of_tcp_count_as_packets_of_the_frame() -> None:
    sent = packets((10, NEVER), (11, 111), (70, 170))
    assert ideal_us([SentFrame(0, 10, coded_bytes=2000)], sent, media(sent)) == {0: 170}


def shown(*times_s: float) -> list[Shown]:
    return [Shown(n, n, round(at * SECOND), 0) for n, at in enumerate(times_s)]


def test_only_intervals_above_200_ms_are_frozen_and_count_whole() -> None:
    assert frozen_us(shown(0, 0.2, 0.5, 0.6, 1.0), 0, SECOND) == round(0.7 * SECOND)


def test_a_picture_that_is_shown_late_but_steadily_is_not_frozen() -> None:
    times = [0.6 + n / 30 for n in range(60)]
    assert frozen_us(shown(*times), SECOND, 2 * SECOND) == 0


def test_a_stream_that_stops_or_never_begins_is_frozen_to_the_end() -> None:
    assert frozen_us(shown(0, 0.1, 0.2), 0, SECOND) == round(0.8 * SECOND)
    assert frozen_us([], 0, SECOND) == SECOND
