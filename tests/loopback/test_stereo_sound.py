"""Stereo over real sockets, from the sender's array to the listener and into the recording."""

from pathlib import Path

import numpy as np

import udpconf
from tests.loopback.test_server_and_sender import Humming, send, serve
from tests.loopback.waiting import PATIENCE_S
from udpconf.media.native import av


class HummingLeft(Humming):
    """The tone on the left, silence on the right."""

    def __init__(self, sender: udpconf.Sender, hertz: float) -> None:
        super().__init__(sender, hertz)
        self._blocks = np.stack((self._blocks, np.zeros_like(self._blocks)), axis=-1)


def test_stereo_is_heard_and_recorded_as_stereo(tmp_path: Path) -> None:
    with serve() as server:
        server.start_recording(tmp_path)
        with send(server, video=False, audio_channels=2) as sender, HummingLeft(sender, 400):
            blocks = [block.pcm for block, _ in zip(server.audio(PATIENCE_S), range(150), strict=False)]
    heard = np.concatenate(blocks[50:]).astype(float)
    assert {block.shape for block in blocks} == {(240, 2)}
    assert np.sqrt((heard[:, 0] ** 2).mean()) > 10 * np.sqrt((heard[:, 1] ** 2).mean())
    (path,) = tmp_path.glob("*.mkv")
    with av.open(str(path)) as recording:
        assert recording.streams.audio[0].codec_context.channels == 2
