"""A file played in real time, by its own timestamps: pictures and sound on one clock, once or in a loop.

Pictures and sound are read by a thread each, which open the file for themselves. So sound never waits for a picture
that is slow to decode; when pictures fall behind, they are left out until they are in step again.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from udpconf.errors import ConfigError
from udpconf.limits import MS, PICTURE_MAX_HEIGHT, PICTURE_MAX_WIDTH, SECOND
from udpconf.media.native import av
from udpconf.media.picture import Picture
from udpconf.media.sources.source import (
    PIECE_SAMPLES,
    SAMPLE_RATE,
    OnPicture,
    OnSound,
    Pcm,
    SoundPacer,
    Source,
    fitted_size,
    monotonic_us,
)

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame

log = logging.getLogger(__name__)

# A picture this late is left out. Two frames at 60 a second, less than one at 25.
_LATE_US = 33 * MS
# ... unless none was shown for so long: a decoder that is always late still gives a slide show.
_SLIDE_SHOW_US = 250 * MS
# This late, the decoder is too slow: from here on it leaves out what no other picture needs ...
_SLOW_US = 150 * MS
# ... and from here on everything up to the next picture that needs no other.
_TOO_SLOW_US = 1000 * MS
# Sound that begins later than the pictures, or has a gap, is filled with silence from this on; what is less is rounding.
_GAP_SAMPLES = SAMPLE_RATE // 50
# Time to open the file and to decode the first pictures and sound before they are due (30 to 100 ms, measured).
_LEAD_US = 200 * MS
# As with a camera: pictures come with jitter, none of a rate that was asked for may be left out.
_EARLY = 0.7


class ClipSource(Source):
    """The pictures and the sound of a file.

    Attributes:
        pictures_skipped: left out because they were late.
    """

    def __init__(
        self, path: Path | str, *, loop: bool = False, width: int | None = None, fps: float | None = None
    ) -> None:
        """Look into the file.

        Args:
            path: anything that FFmpeg reads; no URL.
            loop: begin again at the end.
            width: pictures that are wider are made this wide, with the same aspect.
            fps: pictures that come faster are left out; None: as in the file.

        Raises:
            ConfigError: there is no such file, or it holds neither pictures nor sound.
        """
        super().__init__()
        self._path = Path(path)
        self._loop = loop
        self._width = PICTURE_MAX_WIDTH if width is None else min(width, PICTURE_MAX_WIDTH)
        self._spacing_us = 0 if fps is None else int(_EARLY * SECOND / fps)
        self._said_too_slow = False
        self.pictures_skipped = 0
        if self._path.is_dir():
            raise ConfigError(f"{self._path} is a directory. Name a file in it.")
        if not self._path.is_file():
            raise ConfigError(
                f"There is no file {self._path}. Check the path; a relative one starts at {Path.cwd()}."
            )
        with self._open() as container:
            self.has_picture = bool(container.streams.video)
            self.has_sound = bool(container.streams.audio)
            self._begin = Fraction(container.start_time or 0, SECOND)  # the file's time at which we begin
            # A whole number of samples, so that sound goes on from round to round without a seam.
            self._round_samples = round(_duration(container, self._begin) * SAMPLE_RATE)
        if not (self.has_picture or self.has_sound) or self._round_samples <= 0:
            raise ConfigError(f"{self._path} holds neither pictures nor sound.")

    @property
    def description(self) -> str:
        """For captions and logs."""
        return f"file {self._path.name}"

    def _loops(self, on_picture: OnPicture | None, on_sound: OnSound | None) -> Sequence[Callable[[], None]]:
        start_us = monotonic_us() + _LEAD_US
        loops: list[Callable[[], None]] = []
        if on_picture is not None and self.has_picture:
            loops.append(lambda: self._show(on_picture, start_us))
        if on_sound is not None and self.has_sound:
            loops.append(lambda: self._play(on_sound, start_us))
        return loops

    def _open(self) -> "InputContainer":
        try:
            # The prefix keeps a name with a colon from being taken for a protocol.
            container = av.open(f"file:{self._path}")
        except (av.FFmpegError, OSError) as error:
            raise ConfigError(
                f"{self._path} cannot be played: {getattr(error, 'strerror', None) or error}. Is it a video or sound "
                "file? `ffprobe FILE` tells what FFmpeg sees in it."
            ) from error
        for stream in container.streams.video:
            stream.thread_type = "AUTO"  # decodes on all cores
        return container

    def _rounds(self) -> Iterator["InputContainer"]:
        """The file at its beginning, once or for ever."""
        container = self._open()
        try:
            while True:
                yield container
                if not self._loop:
                    break
                try:
                    container.seek(int(self._begin * SECOND))  # 0.1 ms; opening again takes 3 to 30
                except av.FFmpegError:
                    container.close()
                    container = self._open()
        finally:
            container.close()

    def _due_us(self, start_us: int, round_number: int) -> int:
        return start_us + round_number * self._round_samples * SECOND // SAMPLE_RATE

    # --- pictures ----------------------------------------------------------------------------------------------------

    def _show(self, on_picture: OnPicture, start_us: int) -> None:
        last_due_us: int | None = None
        last_shown_us = start_us
        for number, container in enumerate(self._rounds()):
            empty = True
            for frame, due_us in self._decoded(container, self._due_us(start_us, number)):
                empty = False
                if self._stopping.is_set():
                    return
                if last_due_us is not None and due_us - last_due_us < self._spacing_us:
                    continue
                capture_us, now_us = due_us, monotonic_us()
                if now_us - due_us > _LATE_US:
                    if now_us - last_shown_us < _SLIDE_SHOW_US:
                        self.pictures_skipped += 1
                        continue
                    # It is taken now: the receiver must not take a slow decoder for a slow network.
                    capture_us = now_us
                image = self._converted(frame)
                if not self._wait_until(capture_us):
                    return
                last_due_us, last_shown_us = due_us, capture_us
                on_picture(image, capture_us)
            # The last picture is on for its time; the first one of the next round is decoded meanwhile.
            if (empty or not self._loop) and not self._wait_until(self._due_us(start_us, number + 1)):
                return

    def _decoded(self, container: "InputContainer", round_us: int) -> Iterator[tuple["VideoFrame", int]]:
        """The pictures of one round, each with its capture time; some are missing if the decoder is too slow."""
        stream = container.streams.video[0]
        frame_time = 1 / (stream.average_rate or Fraction(25))
        time = self._begin - frame_time
        waits_for_key = False
        for packet in container.demux(stream):
            late_us = 0
            if packet.pts is not None and packet.time_base is not None:
                late_us = (
                    monotonic_us() - round_us - int((packet.pts * packet.time_base - self._begin) * SECOND)
                )
            if late_us > _TOO_SLOW_US and not waits_for_key:
                waits_for_key = True
                self._say_too_slow()
            if waits_for_key and packet.size:
                if late_us > 0 or not packet.is_keyframe:
                    self.pictures_skipped += 1
                    continue
                waits_for_key = False
                stream.codec_context.flush_buffers()
            stream.codec_context.skip_frame = "NONREF" if late_us > _SLOW_US else "DEFAULT"
            for frame in _frames(packet):
                # Raw streams have no timestamps: then by the frame rate.
                known = frame.pts is not None and frame.time_base is not None
                time = frame.pts * frame.time_base if known else time + frame_time
                yield frame, round_us + int((time - self._begin) * SECOND)

    def _converted(self, frame: "VideoFrame") -> Picture:
        """BGR in the wanted size, the way up that the file says."""
        quarter_turns = round(frame.rotation / 90) % 4  # counter-clockwise
        shown = (frame.width, frame.height) if quarter_turns % 2 == 0 else (frame.height, frame.width)
        width, height = fitted_size(*shown, min(self._width, PICTURE_MAX_HEIGHT * shown[0] // shown[1]))
        if quarter_turns % 2:
            width, height = height, width
        # One pass of swscale for size and colour: 1.7 ms from 1280x720 to 640x360, 2.3 ms in two steps.
        image = frame.to_ndarray(format="bgr24", width=width, height=height, interpolation="AREA")
        return np.ascontiguousarray(np.rot90(image, quarter_turns) if quarter_turns else image)

    def _say_too_slow(self) -> None:
        if not self._said_too_slow:
            self._said_too_slow = True
            log.warning(
                "this machine cannot decode %s in real time, so pictures are left out; a smaller file would help",
                self._path.name,
            )

    # --- sound -------------------------------------------------------------------------------------------------------

    def _play(self, on_sound: OnSound, start_us: int) -> None:
        pacer = SoundPacer(start_us, on_sound, self._wait_until)
        for container in self._rounds():
            given = 0  # samples of this round
            for begin, pcm in self._resampled(container):
                gap = begin - given
                if gap > _GAP_SAMPLES:
                    if not self._push_silence(pacer, gap, pcm.shape[1]):
                        return
                    given += gap
                room = self._round_samples - given if self._loop else len(pcm)
                piece = pcm[-gap if gap < -_GAP_SAMPLES else 0 :][:room]
                if not pacer.push(piece):
                    return
                given += len(piece)
                channels = pcm.shape[1]
            if given == 0:
                break  # nothing that could be decoded
            if self._loop and not self._push_silence(pacer, self._round_samples - given, channels):
                return
        pacer.finish()

    def _resampled(self, container: "InputContainer") -> Iterator[tuple[int, Pcm]]:
        """The sound of one round: int16[n, 1 or 2] at 48 kHz, each with its first sample's number."""
        stream = container.streams.audio[0]
        channels = 1 if stream.layout.nb_channels == 1 else 2
        resampler = av.AudioResampler("s16", "mono" if channels == 1 else "stereo", SAMPLE_RATE)
        begin = 0
        for packet in container.demux(stream):
            frames: list[AudioFrame | None] = [*_frames(packet)]
            if not packet.size:
                frames.append(None)  # the end: what the resampler still holds
            for frame in frames:
                for resampled in resampler.resample(frame):
                    if resampled.pts is not None and resampled.time_base is not None:
                        begin = round((resampled.pts * resampled.time_base - self._begin) * SAMPLE_RATE)
                    pcm = np.asarray(resampled.to_ndarray(), np.int16).reshape(-1, channels)
                    yield begin, pcm
                    begin += len(pcm)

    @staticmethod
    def _push_silence(pacer: SoundPacer, samples: int, channels: int) -> bool:
        while samples > 0:
            piece = min(samples, PIECE_SAMPLES)
            if not pacer.push(np.zeros((piece, channels), np.int16)):
                return False
            samples -= piece
        return True


def _frames(packet: "Packet[Any]") -> list[Any]:
    """What a packet decodes to; nothing if it is damaged, and the next one goes on."""
    try:
        return packet.decode()
    except (av.FFmpegError, ValueError):
        return []


def _duration(container: "InputContainer", begin: Fraction) -> Fraction:
    """Seconds; from the header, or where that does not say, from the last packet."""
    if container.duration:
        return Fraction(container.duration, SECOND)
    end = begin
    for packet in container.demux():
        if packet.pts is not None and packet.time_base is not None:
            end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
    return end - begin
