"""Media to record, made from a seed, and recordings read back with FFmpeg's demuxer and decoders."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.scenes import film
from udpconf.frames import EncodedFrame, OpusFrame, ReceivedFrame
from udpconf.limits import MS
from udpconf.media.jpeg import JpegEncoder
from udpconf.media.native import av
from udpconf.media.opus import OpusFramer

CLIENT = "0123456789abcdef"
# CLOCK_MONOTONIC at the first picture; anything but 0, or a forgotten subtraction would not show.
EPOCH_US = 77_000_000_123


def received(encoded: EncodedFrame, frame_id: int = 0) -> ReceivedFrame:
    return ReceivedFrame(
        frame_id, encoded, encoded.capture_us + 10**15, encoded.capture_us, encoded.capture_us
    )


def filmed(
    times_us: list[int], width: int = 320, height: int = 180, white_from_us: int | None = None
) -> list[ReceivedFrame]:
    """JPEG frames captured at these times after EPOCH_US: a film, or all white from one time on."""
    encoder = JpegEncoder()
    frames = []
    for number, time_us in enumerate(times_us):
        image = film(width, height, shift=number)
        if white_from_us is not None and time_us >= white_from_us:
            image[:] = 255
        frames.append(received(encoder.encode(image, 60, EPOCH_US + time_us, 1100), number))
    return frames


def tone(hertz: float, start_us: int, end_us: int, *, sound_from_us: int = 0) -> list[OpusFrame]:
    """A sine in 10 ms Opus frames, silent before ``sound_from_us`` (times after EPOCH_US)."""
    time = np.arange((end_us - start_us) * 48 // 1000) / 48_000 + start_us / 1e6
    pcm = (10_000 * np.sin(2 * np.pi * hertz * time) * (time >= sound_from_us / 1e6)).astype(np.int16)
    return [OpusFrame(at_us, data) for data, at_us in OpusFramer().push(pcm, EPOCH_US + start_us)]


def in_order(frames: list[ReceivedFrame], sound: list[OpusFrame]) -> list[ReceivedFrame | OpusFrame]:
    media: list[ReceivedFrame | OpusFrame] = [*frames, *sound]
    return sorted(media, key=lambda m: m.capture_us if isinstance(m, OpusFrame) else m.encoded.capture_us)


class Readback(NamedTuple):
    """What a player finds in a file."""

    video_codec: str | None
    video_us: list[int]  # of each picture's packet
    jpegs: list[bytes]
    pictures: list[NDArray[np.uint8]]
    sound_us: list[int]  # of each Opus packet
    pcm: NDArray[np.float32]
    pcm_us: NDArray[np.int64]  # of each sample of pcm
    duration_us: int | None  # as the header says it
    tags: dict[str, str]


def read_back(path: Path) -> Readback:
    with av.open(str(path)) as container:
        tags, duration_us = dict(container.metadata), container.duration
        video = container.streams.video[0] if container.streams.video else None
        codec = None if video is None else video.codec_context.name
        video_us, jpegs, sound_us = [], [], []
        for packet in container.demux():
            if not packet.size or packet.pts is None or packet.time_base is None:
                continue
            time_us = round(packet.pts * packet.time_base * 1_000_000)
            if packet.stream.type == "video":
                video_us.append(time_us)
                jpegs.append(bytes(packet))
            else:
                sound_us.append(time_us)
    pictures: list[NDArray[np.uint8]] = []
    pcm, pcm_us = [np.empty(0, np.float32)], [np.empty(0, np.int64)]
    with av.open(str(path)) as container:
        for frame in container.decode():
            if isinstance(frame, av.VideoFrame):
                pictures.append(np.asarray(frame.to_ndarray(format="bgr24"), np.uint8))
            elif isinstance(frame, av.AudioFrame):
                assert frame.time is not None
                pcm.append(np.asarray(frame.to_ndarray()[0], np.float32))
                pcm_us.append(round(frame.time * 1e6) + np.arange(frame.samples) * 1_000_000 // 48_000)
    return Readback(
        codec,
        video_us,
        jpegs,
        pictures,
        sound_us,
        np.concatenate(pcm),
        np.concatenate(pcm_us),
        duration_us,
        tags,
    )


def frequency(pcm: NDArray[np.float32]) -> float:
    """Of the loudest tone, in hertz."""
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return float(np.argmax(spectrum) * 48_000 / len(pcm))


def times(count: int, interval_us: int = 33 * MS) -> list[int]:
    return [number * interval_us for number in range(count)]
