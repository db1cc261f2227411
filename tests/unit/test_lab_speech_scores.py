"""Where speech fits into what was heard: tools/lab/speech_scores.py."""

import numpy as np
import pytest

from tools.lab.speech_scores import best_lag


@pytest.mark.parametrize("lag", [0, 1, 2_400, 9_600])
def test_a_piece_is_found_where_it_was_put_however_loud_and_under_noise(lag: int) -> None:
    random = np.random.default_rng(lag)
    piece = random.normal(0, 3_000, 4_800).astype(np.int16)
    window = random.normal(0, 300, 14_400)
    window[lag : lag + len(piece)] += piece / 2
    found, likeness = best_lag(piece, window.astype(np.int16))
    assert found == lag
    assert likeness > 0.95


def test_in_other_sound_and_in_silence_nothing_is_like_it() -> None:
    random = np.random.default_rng(1)
    piece = random.normal(0, 3_000, 4_800).astype(np.int16)
    assert best_lag(piece, random.normal(0, 3_000, 14_400).astype(np.int16))[1] < 0.1
    assert best_lag(piece, np.zeros(14_400, np.int16))[1] == 0
