"""One client's recording: a series of Matroska files, and what happens between them.

A file starts when it is known what is in it: both kinds of media have arrived, or one has not within a second. A new one
starts every ten minutes, and when something changes that a file has to say once: the picture's size or codec, sound or
stereo that comes later, a clock that jumps back. Not for two threads at once.
"""

import shutil
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from udpconf.frames import (
    SILENCE_MAX_US,
    Codec,
    FrameDescription,
    OpusFrame,
    ReceivedFrame,
    Subsampling,
    is_silence_mark,
)
from udpconf.limits import RECORDER_FILE_US, RECORDER_RESERVE_BYTES, SECOND
from udpconf.media.decode import FrameDecoder
from udpconf.media.jpeg import write_jpeg
from udpconf.media.matroska import MatroskaFile, Tags, VideoFormat
from udpconf.media.native import cv2
from udpconf.media.picture import Picture
from udpconf.media.recording_file import SERIES_MAX, create_exclusively, disk_full, recording_name

# So long the first file waits for the other kind of media: a microphone takes some 0.3 s to open, a camera more.
START_WAIT_US = 1 * SECOND
# Pictures to guess the frame rate from, which players without a sense of time want to know (cv2.VideoCapture).
RATE_PICTURES = 6
DEFAULT_RATE = 30
# Media wait in memory at the start of a file; a second of the largest pictures would be too much.
HELD_MAX_BYTES = 2 << 20
# A clock that jumps back by more than this starts a new file; by less, and times stand still until it has caught up.
CLOCK_BACK_US = 1 * SECOND
# Sound that is played later than the pictures of its time still belongs into the file that these have started.
SEAM_US = 1 * SECOND
# A sender that changes the picture's size with each frame must not fill the directory: between two files of a series
# there is a second, and pictures that do not fit into the present one are left out meanwhile.
FILE_MIN_US = 1 * SECOND

SAMPLING_FACTOR = {
    Subsampling.S420: cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    Subsampling.S422: cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    Subsampling.S444: cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
}


class RecordedClient(NamedTuple):
    """Whose media they are, and which kinds are to be expected."""

    client_id: str
    name: str
    address: str
    video: bool
    audio: bool


class RecordingStarted(NamedTuple):
    """A file of the series was created."""

    client_id: str
    path: Path


class RecordingEnded(NamedTuple):
    """A file is complete; ``reason`` is a sentence."""

    client_id: str
    path: Path
    reason: str


RecordingEvent = RecordingStarted | RecordingEnded


class Contents(NamedTuple):
    """What a file says once about what is in it."""

    video: VideoFormat | None
    channels: int  # of the sound; 0: none


class RecordingSeries:
    """Feed it a client's media in order of arrival. Errors of the disk leave as OSError; then call ``close``.

    Attributes:
        path: of the present file, None before the first.
        left_out: pictures and pieces of sound that no file took (see FILE_MIN_US and SEAM_US).
    """

    def __init__(
        self,
        directory: Path,
        client: RecordedClient,
        on_event: Callable[[RecordingEvent], None],
        *,
        file_us: int = RECORDER_FILE_US,
        reserve_bytes: int = RECORDER_RESERVE_BYTES,
    ) -> None:
        self.path: Path | None = None
        self.left_out = 0
        self._directory = directory
        self._client = client
        self._on_event = on_event
        self._file_us = file_us
        self._reserve_bytes = reserve_bytes
        self._series_wall_us = 0
        self._file_count = 0
        self._file: MatroskaFile | None = None
        self._contents = Contents(None, channels=0)
        self._started_us = 0  # when the file was made
        self._start_us = 0  # capture time at the file's time 0
        self._newest_us = 0  # capture time written last
        self._sound_end_us: int | None = None  # capture time at which the sound written so far ends
        self._silence: OpusFrame | None = None  # the mark, if that was written last
        self._rate = DEFAULT_RATE
        self._held: list[ReceivedFrame | OpusFrame] = []
        self._held_bytes = 0
        self._held_since_us = 0
        # The picture before the present one, in case that has holes: the frame if it was whole and nobody had to decode
        # it, else the decoder knows it.
        self._decoder = FrameDecoder()
        self._undecoded: ReceivedFrame | None = None

    def add(self, media: ReceivedFrame | OpusFrame, now_us: int) -> None:
        """A frame or a piece of sound; ``now_us`` is CLOCK_MONOTONIC in microseconds, as capture times are. Lost sound (no data) leaves a gap."""
        if isinstance(media, OpusFrame) and not media.data:
            return
        if self._file is None:
            if not self._held:
                self._held_since_us = now_us
            self._held.append(media)
            self._held_bytes += media.encoded.coded_size if isinstance(media, ReceivedFrame) else 100
            self.start_if_due(now_us)
        else:
            self._write(media, now_us)

    def start_if_due(self, now_us: int) -> None:
        """Starts the first file when its contents are known; to be called a few times a second while it waits."""
        if self._file is not None or not self._held:
            return
        pictures = [media for media in self._held if isinstance(media, ReceivedFrame)]
        channels = max((media.channels for media in self._held if isinstance(media, OpusFrame)), default=0)
        video_known = len(pictures) >= RATE_PICTURES or not self._client.video
        if not (
            (video_known and (channels or not self._client.audio))
            or now_us - self._held_since_us >= START_WAIT_US
            or self._held_bytes > HELD_MAX_BYTES
        ):
            return
        intervals = [
            later.encoded.capture_us - earlier.encoded.capture_us for earlier, later in pairwise(pictures)
        ]
        if intervals and (interval_us := statistics.median(intervals)) > 0:
            self._rate = max(1, min(240, round(SECOND / interval_us)))
        video = _format(pictures[0]) if pictures else None
        self._start_file(Contents(video, channels), min(map(_capture_us, self._held)), now_us)
        held, self._held = self._held, []
        for media in held:
            self._write(media, now_us)

    def close(self, reason: str) -> None:
        """Completes the present file. What is held back is written first, so that short recordings exist, too."""
        try:
            if self._file is None and self._held:
                self.start_if_due(self._held_since_us + START_WAIT_US)
        finally:
            self._held.clear()
            self._end_file(reason)

    def abandon(self, reason: str) -> None:
        """As ``close`` after an error: the file ends where the disk let it. Tells even if no file could be made."""
        self._held.clear()
        if self._file is None:
            self._on_event(RecordingEnded(self._client.client_id, self.path or self._directory, reason))
            return
        try:
            self._end_file(reason)
        except OSError:
            # The error that has been reported once more: the muxer could not write its index either. The file is
            # readable without one.
            return

    def _write(self, media: ReceivedFrame | OpusFrame, now_us: int) -> None:
        capture_us = _capture_us(media)
        wanted = self._contents
        if isinstance(media, OpusFrame):
            wanted = wanted._replace(channels=max(wanted.channels, media.channels))
            leads = wanted.video is None
        else:
            wanted = wanted._replace(video=_format(media))
            leads = True
        clock_back = capture_us < self._newest_us - max(CLOCK_BACK_US, SEAM_US)
        full = leads and capture_us - self._start_us >= self._file_us
        if wanted != self._contents or clock_back or full:
            if now_us - self._started_us < FILE_MIN_US:
                self.left_out += 1
                return
            self._end_file("The recording goes on in the next file of its series.")
            start_us = capture_us
            if not clock_back and self._sound_end_us is not None:
                # Sound that is due later than these pictures follows on what the last file has of it.
                start_us = max(capture_us - SEAM_US, min(capture_us, self._sound_end_us))
            self._start_file(wanted, start_us, now_us)
        if capture_us < self._start_us:
            self.left_out += 1
            return
        self._newest_us = max(self._newest_us, capture_us)
        if isinstance(media, OpusFrame):
            self._write_opus(media)
        else:
            self._write_frame(media)

    def _write_opus(self, sound: OpusFrame) -> None:
        assert self._file is not None
        assert sound.data is not None
        self._write_silence(sound.capture_us)
        self._file.write_opus(sound.capture_us - self._start_us, sound.data, sound.duration_us)
        self._sound_end_us = sound.capture_us + sound.duration_us
        self._silence = sound if is_silence_mark(sound.data) else None

    def _write_silence(self, until_us: int) -> None:
        """What the sender left out after a mark: as many marks, since some players put the packets of sound end to end."""
        silence, end_us = self._silence, self._sound_end_us
        if silence is None or silence.data is None or end_us is None or until_us - end_us > SILENCE_MAX_US:
            return
        assert self._file is not None
        for capture_us in range(end_us, until_us - silence.duration_us + 1, silence.duration_us):
            if capture_us >= self._start_us:
                self._file.write_opus(capture_us - self._start_us, silence.data, silence.duration_us)

    def _write_frame(self, frame: ReceivedFrame) -> None:
        """The received bytes if the frame is whole; if not, the picture as it was shown, with the last one in its holes."""
        assert self._file is not None
        encoded = frame.encoded
        time_us = encoded.capture_us - self._start_us
        lossless = encoded.description.codec == Codec.LZ4
        if encoded.complete and not lossless:
            self._undecoded = frame
            self._file.write_jpeg(time_us, write_jpeg(encoded))
            return
        if self._undecoded is not None:
            self._decoder.decode_coded(self._undecoded.encoded)
            self._undecoded = None
        image = self._decoder.decode_coded(encoded).image
        if image.shape[:2] != (encoded.description.coded_height, encoded.description.coded_width):
            # The decoder did not believe the description.
            self.left_out += 1
            return
        if lossless:
            self._file.write_picture(time_us, image)
        else:
            self._file.write_jpeg(time_us, _encode_like(encoded.description, image))

    def _start_file(self, contents: Contents, start_us: int, now_us: int) -> None:
        now_wall_us = time.time_ns() // 1000
        self._series_wall_us = self._series_wall_us or now_wall_us
        self._file_count += 1
        free_bytes = shutil.disk_usage(self._directory).free
        if free_bytes < self._reserve_bytes:
            self.path = self._directory / self._file_name()
            raise OSError(disk_full(self._directory, free_bytes, self._reserve_bytes))
        while True:
            self.path = self._directory / self._file_name()
            try:
                file = create_exclusively(self.path)
                break
            except FileExistsError:
                self._file_count += 1
                if self._file_count > SERIES_MAX:
                    raise
        # Capture times run on CLOCK_MONOTONIC; what time of day it was when this file's time was 0 follows from now.
        created_wall_us = now_wall_us - (now_us - start_us)
        tags = Tags(_printable(self._client.name), self._client.address, created_wall_us)
        try:
            self._file = MatroskaFile(
                file, contents.video, channels=contents.channels, frames_per_second=self._rate, tags=tags
            )
        except BaseException:
            file.close()
            self.path.unlink(missing_ok=True)
            raise
        self._contents = contents
        self._started_us = now_us
        self._start_us = self._newest_us = start_us
        self._on_event(RecordingStarted(self._client.client_id, self.path))

    def _file_name(self) -> str:
        return recording_name(
            self._series_wall_us, self._client.client_id, self._client.name, self._file_count
        )

    def _end_file(self, reason: str) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        try:
            file.close()
        finally:
            assert self.path is not None
            self._on_event(RecordingEnded(self._client.client_id, self.path, reason))


def _capture_us(media: ReceivedFrame | OpusFrame) -> int:
    return media.capture_us if isinstance(media, OpusFrame) else media.encoded.capture_us


def _printable(name: str) -> str:
    return "".join(character for character in name if character.isprintable())


def _format(frame: ReceivedFrame) -> VideoFormat:
    description = frame.encoded.description
    return VideoFormat(description.codec, description.width, description.height)


def _encode_like(description: FrameDescription, image: Picture) -> bytes:
    """A JPEG of the quality and sampling that the frame came with."""
    parameters = [cv2.IMWRITE_JPEG_QUALITY, description.quality]
    if description.subsampling == Subsampling.GREY:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)  # type: ignore[assignment]
    else:
        parameters += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLING_FACTOR[description.subsampling]]
    _, jpeg = cv2.imencode(".jpg", image, parameters)
    return jpeg.tobytes()
