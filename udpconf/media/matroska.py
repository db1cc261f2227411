"""One Matroska file: pictures and sound muxed as they came, readable wherever writing stops.

JPEGs and Opus packets go in untouched, with the times of their capture; lossless pictures are encoded as FFV1. The muxer
is FFmpeg's. A cluster is complete on disk after half a second at most, so a killed process loses no more than that and
what still waits for its turn between the two tracks.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, BinaryIO, NamedTuple

from udpconf.frames import Codec
from udpconf.limits import MS, RECORDER_CLUSTER_MS, SECOND
from udpconf.media.native import av
from udpconf.media.opus import LAYOUTS, SAMPLE_RATE
from udpconf.media.picture import Picture

# Matroska's own default, and finer than any player's clock.
TIME_BASE = Fraction(1, 1000)
# A packet waits so long for the other track's to sort them by time; then it is written. Sound that stops must not hold
# back pictures (FFmpeg's default is 10 s), and sound and pictures of one moment are played within this of each other.
INTERLEAVE_US = 300 * MS
# Slices are what FFV1's threads share out. Every picture is a key frame, for seeking and for files cut short.
_FFV1_OPTIONS: dict[str, object] = {"slices": "4", "slicecrc": "1", "g": "1"}
_FFV1_THREADS = 2


class VideoFormat(NamedTuple):
    """What a video track cannot change."""

    codec: Codec
    width: int  # pixels
    height: int  # pixels


class Tags(NamedTuple):
    """What the file says about itself."""

    title: str
    comment: str
    created_wall_us: int  # microseconds since 1970


class MatroskaFile:
    """Writes one file. Times are microseconds from its start and must grow within a track; errors leave as OSError.

    Args:
        file: opened for writing and seeking, unbuffered; closed by ``close()``.
        video: None for a file of sound alone.
        channels: of the sound (Opus at 48 kHz): 1, or 2, which may hold mono packets as well; 0: there is none.
        frames_per_second: what players are told to expect; each picture's own time counts.
        tags: for the header.
    """

    def __init__(
        self, file: BinaryIO, video: VideoFormat | None, *, channels: int, frames_per_second: int, tags: Tags
    ) -> None:
        self._file = file
        options = {
            "cluster_time_limit": str(RECORDER_CLUSTER_MS),
            "flush_packets": "1",
            "max_interleave_delta": str(INTERLEAVE_US),
        }
        self._container = av.open(file, "w", format="matroska", options=options)
        created = datetime.fromtimestamp(tags.created_wall_us / SECOND, UTC)
        self._container.metadata.update(
            title=tags.title, comment=tags.comment, creation_time=created.isoformat().replace("+00:00", "Z")
        )
        self._video = None if video is None else self._add_video(video, frames_per_second)
        # The encoder encodes nothing: opened, it provides the OpusHead that the header needs.
        self._audio = (
            self._container.add_stream("libopus", rate=SAMPLE_RATE, layout=LAYOUTS[channels])
            if channels
            else None
        )
        if self._audio is not None:
            self._audio.options = {"application": "lowdelay"}
        self._last_video_ms = -1
        self._last_audio_ms = -1
        with _as_os_error():
            self._container.start_encoding()

    def _add_video(self, video: VideoFormat, frames_per_second: int) -> "av.VideoStream":
        lossless = video.codec == Codec.LZ4
        stream = self._container.add_stream("ffv1" if lossless else "mjpeg", rate=frames_per_second)
        stream.width, stream.height = video.width, video.height
        stream.pix_fmt = "bgr0" if lossless else "yuvj420p"
        stream.time_base = stream.codec_context.time_base = TIME_BASE
        if lossless:
            stream.options = _FFV1_OPTIONS
            # By frames, threads would hold pictures back.
            stream.codec_context.thread_type = "SLICE"
            stream.codec_context.thread_count = _FFV1_THREADS
        return stream

    def write_jpeg(self, time_us: int, jpeg: bytes) -> None:
        """A whole JPEG file, of the size that was declared."""
        assert self._video is not None
        packet = av.Packet(jpeg)
        packet.stream = self._video
        packet.time_base = TIME_BASE
        packet.pts = packet.dts = self._next_video_ms(time_us)
        packet.is_keyframe = True
        self._mux(packet)

    def write_picture(self, time_us: int, image: Picture) -> None:
        """uint8[h, w, 3] BGR of the size that was declared, stored without loss."""
        assert self._video is not None
        frame = av.VideoFrame.from_ndarray(image, format="bgr24")
        frame.time_base = TIME_BASE
        frame.pts = self._next_video_ms(time_us)
        for packet in self._video.encode(frame):
            self._mux(packet)

    def write_opus(self, time_us: int, data: bytes, duration_us: int) -> None:
        """One Opus packet; a gap since the last one is lost sound and stays a gap."""
        assert self._audio is not None
        self._last_audio_ms = max(round(time_us / MS), self._last_audio_ms + 1)
        packet = av.Packet(data)
        packet.stream = self._audio
        packet.time_base = TIME_BASE
        packet.pts = packet.dts = self._last_audio_ms
        packet.duration = round(duration_us / MS)
        packet.is_keyframe = True
        self._mux(packet)

    def close(self) -> None:
        """Writes what still waits, the index and the duration, and closes the file."""
        try:
            with _as_os_error():
                self._container.close()
        finally:
            self._file.close()

    def _next_video_ms(self, time_us: int) -> int:
        # Two pictures within a millisecond, or a clock that was corrected: the container wants growing times.
        self._last_video_ms = max(round(time_us / MS), self._last_video_ms + 1)
        return self._last_video_ms

    def _mux(self, packet: "av.Packet[Any]") -> None:
        with _as_os_error():
            self._container.mux(packet)


@contextmanager
def _as_os_error() -> Iterator[None]:
    """FFmpeg reports a failed write as an error of its own, and once more on closing: both are the file's."""
    try:
        yield
    except av.error.FFmpegError as error:
        if isinstance(error, OSError):
            raise
        raise OSError(f"the muxer failed: {error}") from error
