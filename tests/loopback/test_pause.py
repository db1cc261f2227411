"""A pause that is not sent, over real sockets: from the sender's array to the listener, the statistics and the recording."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import udpconf
from tests.loopback.recordings import read_back
from tests.loopback.test_server_and_sender import Humming, pitch, send, serve
from tests.loopback.waiting import PATIENCE_S

PAUSE = 200  # pieces of 10 ms


class HummingWithAPause(Humming):
    """1 s of a tone, 2 s of silence, 2 s of the tone."""

    def __init__(self, sender: udpconf.Sender, hertz: float) -> None:
        super().__init__(sender, hertz)
        blocks: NDArray[np.int16] = self._blocks
        self._blocks = np.concatenate((blocks, np.zeros((PAUSE, 480), np.int16), blocks, blocks))


def test_a_pause_is_heard_as_silence_and_costs_next_to_nothing(tmp_path: Path) -> None:
    with serve() as server:
        server.start_recording(tmp_path)
        with (
            send(server, video=False, dtx=True) as sender,
            HummingWithAPause(sender, 400),
        ):
            blocks = [block.pcm for block, _ in zip(server.audio(PATIENCE_S), range(800), strict=False)]
            (client,) = server.clients()
            stats, sent = server.stats()[client.id], sender.stats()
            bytes_of_a_frame = sender._sound_bytes
    sound = np.concatenate(blocks)
    loud = np.array([np.abs(block).max() > 1000 for block in blocks])
    quiet = np.flatnonzero(~loud[100:700])
    assert 350 <= len(quiet) <= 450, "2 s"
    silent = sound.reshape(-1, 240)[100:700][quiet]
    # The last quiet piece is silent only up to where the tone begins in it, or the codec's reach before that.
    assert not silent[-201:-1].any()
    assert abs(pitch(sound[-24_000:]) - 400) < 10
    assert 1.0 < sent.audio_silent_s <= 1.6
    assert 1.0 < stats.audio_silent_s <= 1.7
    # A machine that stands still for a moment may be late with a frame or two.
    assert stats.audio_frames_concealed < 20
    assert sent.audio_frames_sent < 300, "of 400"
    assert bytes_of_a_frame > 30, "marks say nothing of how large frames are"
    (path,) = tmp_path.glob("*.mkv")
    times_us = read_back(path).sound_us
    assert np.abs(np.diff(times_us) - 10_000).max() <= 10_000
