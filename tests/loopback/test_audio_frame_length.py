"""Frames of 5 ms over real sockets, from the sender's array to the listener and into the recording."""

from pathlib import Path

import numpy as np
import pytest

import udpconf
from tests.loopback.recordings import read_back
from tests.loopback.test_server_and_sender import Humming, pitch, send, serve
from tests.loopback.waiting import PATIENCE_S


def test_frames_of_5_ms_are_heard_and_recorded(tmp_path: Path) -> None:
    with serve() as server:
        server.start_recording(tmp_path)
        with send(server, video=False, audio_frame_ms=5) as sender, Humming(sender, 400):
            blocks = [block.pcm for block, _ in zip(server.audio(PATIENCE_S), range(150), strict=False)]
    assert abs(pitch(np.concatenate(blocks[50:])) - 400) < 10
    (path,) = tmp_path.glob("*.mkv")
    times_us = read_back(path).sound_us
    assert np.median(np.diff(times_us)) == 5_000


def test_other_lengths_and_more_channels_are_refused_before_anybody_is_called() -> None:
    with pytest.raises(udpconf.ConfigError, match="choose 5, 10 or 20"):
        udpconf.Sender("127.0.0.1", 9, audio_frame_ms=15)
    with pytest.raises(udpconf.ConfigError, match="choose 1, or 2 for stereo"):
        udpconf.Sender("127.0.0.1", 9, audio_channels=6)
