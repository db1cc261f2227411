"""Frames of 5, 10 and 20 ms: each says how long it is, and everybody on the way goes by that."""

import random
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.hearing import listen
from udpconf.app.audio_receive import AudioReceiver
from udpconf.errors import ConfigError
from udpconf.frames import OpusFrame, opus_duration_us
from udpconf.limits import AUDIO_BUFFER_US, MS
from udpconf.media.opus import ENCODER_DELAY_US, OpusEncoder, OpusFramer
from udpconf.media.opus_decoder import OpusDecoder
from udpconf.proto.audio_jitter import AudioJitterBuffer
from udpconf.proto.audio_packets import AudioDepacketizer, AudioPacketizer
from udpconf.proto.sound_redundancy import Redundancy

Pcm = NDArray[np.int16]
LENGTHS = pytest.mark.parametrize("frame_ms", [5, 10, 20])
EITHER = pytest.mark.parametrize("native", [True, False], ids=["ctypes", "PyAV"])


# Blocks of 5 ms, after the careful delay of the first second has been taken back.
SETTLED = 100


def tone(seconds: float) -> Pcm:
    return (8_000 * np.sin(2 * np.pi * 440 * np.arange(round(48_000 * seconds)) / 48_000)).astype(np.int16)


def encoded(frame_ms: int, seconds: float = 2.0, *, native: bool = True) -> list[tuple[bytes, int]]:
    encoder = OpusEncoder(native=native, frame_us=frame_ms * MS)
    return OpusFramer(encoder).push(tone(seconds), 0)


@EITHER
@LENGTHS
def test_an_encoded_frame_says_its_length_and_is_decoded_as_long(frame_ms: int, native: bool) -> None:
    frames = encoded(frame_ms, 0.2, native=native)
    assert len(frames) == 200 // frame_ms
    assert {later - earlier for (_, earlier), (_, later) in pairwise(frames)} == {frame_ms * MS}
    assert frames[0][1] == -ENCODER_DELAY_US
    assert {OpusFrame(at_us, data).duration_us for data, at_us in frames} == {frame_ms * MS}
    decoder = OpusDecoder(native=native)
    assert {len(decoder.decode(data)) for data, _ in frames} == {48 * frame_ms}
    assert len(decoder.conceal(samples=48 * frame_ms)) == 48 * frame_ms


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"opus", b"\xe0", b"\xf1", b"\xfb\x05"], ids=lambda data: data.hex() or "empty"
)
def test_what_is_not_one_frame_of_our_lengths_counts_10_ms_and_never_raises(data: bytes) -> None:
    assert opus_duration_us(data) == 10 * MS
    assert len(OpusDecoder().decode(data)) == 480


@pytest.mark.parametrize("wrong_us", [0, 2_500, 15 * MS, 40 * MS])
def test_other_lengths_are_refused(wrong_us: int) -> None:
    with pytest.raises(ConfigError, match="5, 10 or 20 ms"):
        OpusEncoder(frame_us=wrong_us)


@LENGTHS
def test_copies_get_the_times_of_their_own_frames(frame_ms: int) -> None:
    frames = encoded(frame_ms, 0.2)
    packetizer, depacketizer = AudioPacketizer(frame_ms * MS), AudioDepacketizer()
    packets = [packetizer.packetize(data, at_us, Redundancy((2, 4))) for data, at_us in frames]
    told = depacketizer.handle_packet(packets[6], packets[6].capture_us)
    assert [(new.capture_us, new.data) for new in told] == [(frames[n][1], frames[n][0]) for n in (2, 4, 6)]


@EITHER
@LENGTHS
def test_made_up_sound_is_silent_after_60_ms_and_comes_back_without_a_click(
    frame_ms: int, native: bool
) -> None:
    frames = encoded(frame_ms, 1.0, native=native)
    decoder = OpusDecoder(native=native)
    gap = range(500 // frame_ms, 600 // frame_ms)
    pcm = np.concatenate(
        [
            decoder.conceal(samples=48 * frame_ms) if number in gap else decoder.decode(data)
            for number, (data, _) in enumerate(frames)
        ]
    )
    assert pcm[48 * 500 : 48 * 515].any()
    assert not pcm[48 * 565 : 48 * 600].any()
    assert np.abs(np.diff(pcm.astype(int), 2)).max() < 600


@LENGTHS
def test_a_tone_is_heard_whole_and_each_length_of_frames_sooner_than_the_longer_one(frame_ms: int) -> None:
    receiver = AudioReceiver(clock=lambda: 0)
    blocks = listen({"a": encoded(frame_ms)}, "a", frame_us=frame_ms * MS, receiver=receiver)
    settled = np.concatenate([block.pcm for block in blocks[-SETTLED:]])[:, 0]
    assert {block.pcm.shape for block in blocks} == {(240, 1)}
    assert np.abs(np.diff(settled.astype(int), 2)).max() < 100, "no click"
    assert abs(float(np.abs(settled).max()) - 8_000) < 800
    captured = [block.capture_us for block in blocks[-SETTLED:] if block.capture_us is not None]
    assert {later - earlier for earlier, later in pairwise(captured)} == {5 * MS}
    counts, delay_us = receiver.counts("a"), receiver.audio_delay_us("a")
    assert counts is not None
    assert counts.lost == counts.stretched == counts.skipped == 0
    assert delay_us is not None
    assert (frame_ms + 4) * MS <= delay_us <= (frame_ms + 20) * MS


@LENGTHS
def test_a_lost_frame_is_made_up_as_long_as_it_was(frame_ms: int) -> None:
    receiver = AudioReceiver(clock=lambda: 0)
    lost = {1_640 // frame_ms, 1_800 // frame_ms}
    blocks = listen({"a": encoded(frame_ms)}, "a", lost, frame_ms * MS, receiver)
    counts = receiver.counts("a")
    assert counts is not None
    assert counts.lost == 2
    assert counts.late == counts.skipped == 0
    captured = [block.capture_us for block in blocks[-SETTLED:] if block.capture_us is not None]
    assert {later - earlier for earlier, later in pairwise(captured)} == {5 * MS}


@LENGTHS
def test_the_buffer_holds_400_ms_of_any_frames(frame_ms: int) -> None:
    buffer = AudioJitterBuffer()
    data = encoded(frame_ms, 0.1)[0][0]
    for number in range(1_000):
        buffer.push(number, number * frame_ms * MS, data, (number + 1) * frame_ms * MS)
    assert len(buffer._waiting) * frame_ms * MS == AUDIO_BUFFER_US


def test_a_sender_that_changes_its_frames_all_the_time_ends_nothing() -> None:
    seed = 5
    source = random.Random(seed)
    kinds = [encoded(frame_ms, 1.0) for frame_ms in (5, 10, 20)]
    frames = [(source.choice(source.choice(kinds))[0], number * 10 * MS) for number in range(200)]
    lost = {number for number in range(200) if source.random() < 0.2}
    blocks = listen({"liar": frames, "a": encoded(10)}, "liar", lost)
    assert {block.pcm.shape for block in blocks} == {(240, 1)}, f"seed {seed}"
