"""Two channels from the encoder to whoever listens, beside one, in virtual time."""

import numpy as np
from numpy.typing import NDArray

from tests.hearing import Frames, heard
from udpconf.app.client_sound import PLAY_SAMPLES
from udpconf.media.opus import OpusEncoder, OpusFramer

Pcm = NDArray[np.int16]


def tones(*hertz: float) -> Pcm:
    """Two seconds, a channel for each."""
    times = np.arange(96_000)[:, np.newaxis] / 48_000
    return (8_000 * np.sin(2 * np.pi * np.array(hertz) * times)).astype(np.int16)


def encoded(pcm: Pcm, channels: int, bitrate_bps: int = 64_000) -> Frames:
    return OpusFramer(OpusEncoder(bitrate_bps, channels)).push(pcm, 0)


def pitch(channel: Pcm) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(channel * np.hanning(len(channel)))))) * 48_000 / len(channel)


def settled(blocks: list[Pcm]) -> Pcm:
    return np.concatenate(blocks[-200:])


def test_left_and_right_are_heard_apart_and_a_mono_client_in_the_middle() -> None:
    clients = {"stereo": encoded(tones(400, 1000), 2), "mono": encoded(tones(2500), 1)}
    both = settled(heard(clients, None))
    left, right = (np.abs(np.fft.rfft(both[:, side] * np.hanning(len(both)))) for side in (0, 1))
    hertz = 48_000 / len(both)
    assert {round(peak * hertz, -1) for peak in np.argsort(left)[-2:]} == {400, 2500}
    assert {round(peak * hertz, -1) for peak in np.argsort(right)[-2:]} == {1000, 2500}


def test_each_client_alone_has_the_channels_that_it_sends() -> None:
    clients = {"stereo": encoded(tones(400, 1000), 2), "mono": encoded(tones(2500), 1)}
    assert {block.shape for block in heard(clients, "stereo")} == {(PLAY_SAMPLES, 2)}
    assert {block.shape for block in heard(clients, "mono")} == {(PLAY_SAMPLES, 1)}


def test_stereo_frames_that_are_lost_or_come_as_mono_for_want_of_bits_stay_in_two_channels() -> None:
    encoder = OpusEncoder(64_000, 2)
    framer = OpusFramer(encoder)
    frames: Frames = []
    for start in range(0, 96_000, 480):
        encoder.set_bitrate(21_000 if 60 <= start // 480 < 90 else 64_000)
        frames += framer.push(tones(400, 1000)[start : start + 480], start * 1000 // 48)
    assert len({data[0] & 4 for data, _ in frames}) == 2, "libopus made mono frames of some"
    blocks = heard({"stereo": frames}, "stereo", lost={100, 101, 130})
    assert {block.shape for block in blocks} == {(PLAY_SAMPLES, 2)}
    both = settled(blocks)
    assert abs(pitch(both[-24_000:, 0]) - 400) < 5
    assert abs(pitch(both[-24_000:, 1]) - 1000) < 5


def test_a_client_that_turns_to_stereo_is_followed() -> None:
    mono, stereo = encoded(tones(400), 1), encoded(tones(400, 1000), 2)
    blocks = heard({"turning": mono[:100] + stereo[100:]}, None)
    assert [block.shape[1] for block in blocks] == sorted(block.shape[1] for block in blocks)
    assert {len(block) for block in blocks} == {PLAY_SAMPLES}
    assert abs(pitch(blocks[-1][:, 0]) - 400) < 200
    assert abs(pitch(np.concatenate(blocks[-80:])[:, 1]) - 1000) < 5
