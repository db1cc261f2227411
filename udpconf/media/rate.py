"""Keeps a stream under its ceiling and within what the path carries: JPEG by its quality, frame by frame; where that cannot
give way, by the pictures' size; and where that cannot either, by leaving out frames.

The size of a JPEG is close to a power of its quantisation scale (libjpeg's, in percent), and pictures resemble the one
before. So one encode a frame is enough as a rule: the last frame's size tells which quality will fit, and only a frame
that misses is compressed again.
"""

import logging
import math
from collections import deque

from udpconf.frames import Codec, EncodedFrame
from udpconf.limits import DATAGRAM_DEFAULT_BYTES, FRAME_MAX_BYTES, SECOND, SHARDS_PER_FRAME_MAX
from udpconf.media.jpeg import JpegEncoder
from udpconf.media.lossless_need import LosslessNeed
from udpconf.media.lz4_codec import Lz4Encoder
from udpconf.media.picture import Picture
from udpconf.media.picture_scale import PictureScale

log = logging.getLogger(__name__)

# A segment that fits the smallest datagram with its envelope, tag and shard header.
DEFAULT_SEGMENT_BYTES = DATAGRAM_DEFAULT_BYTES - 64

# What a datagram adds to its segment: IPv6 and UDP 48, envelope and tag 24, shard header 27. (IPv4 is 20 shorter.)
DATAGRAM_OVERHEAD_BYTES = 48 + 24 + 27
# A datagram's segments are some 93 % of what it has room for (measured with intervals of a quarter of it).
_TYPICAL_FILL = 0.93
# Of the ceiling, what any second may hold; the rest is for pings and acknowledgements (1.2 kbit/s), and because datagrams
# leave some milliseconds after the capture by which the second is told here.
_SECOND_SHARE = 0.98
# Of that, what the frames' shares add up to: a second may hold one frame more than its frame rate says.
_FRAMES_SHARE = 0.96
# Aimed at, of a frame's share; the rest absorbs that pictures differ. Within the band the quality stays as it is.
_AIM = 0.92
_BAND = (0.86, 0.99)
# A frame may be over its share of what the path carries: it is some milliseconds late then, and the next one smaller. The mean
# comes to 0.93 to 0.98 of it.
_PATH_SHARE = 1.06

# size ~ scale ** -exponent: 0.49 to 0.63 on two clips between quality 30 and 80 (measured); then learned.
_EXPONENT = 0.55
_EXPONENT_LIMITS = (0.3, 1.2)
_EXPONENT_GAIN = 0.2
# Bytes a pixel at scale 100 (quality 50) before anything was encoded: a film, 640x360 (measured).
_FIRST_GUESS = 0.12

# Enough to see through the jitter of a camera, soon enough to see a new frame rate.
_INTERVALS = 15
# A slideshow may not save up for longer than the ceiling's second.
_INTERVAL_MAX_US = SECOND


class RateLimitedEncoder:
    """Compresses one stream under a ceiling. Not for two threads at once.

    Attributes:
        quality: the quality of the last frame; 0 before the first, and for lz4.
        scale: of the last picture's width and height, as they are sent; 1 as long as the quality can give way.
        frames_skipped: frames left out because the ceiling, or the largest frame's limit, had no room for them.
        frames_skipped_path: frames left out because the path had none.
        frames_encoded_again: second encodes, because the first was over the frame's share.
    """

    def __init__(
        self,
        quality: int = 75,
        min_quality: int = 20,
        max_bitrate_kbps: float = 4000,
        fps: float = 30.0,
        codec: Codec = Codec.JPEG,
    ) -> None:
        """Set the limits.

        Args:
            quality: upper limit, 1..100; used whenever it fits.
            min_quality: lower limit; from there on pictures are sent smaller. A frame over its share even at the smallest
                size is sent, and the next ones are left out for it; over a whole second's share it is sent when a second
                has passed without any.
            max_bitrate_kbps: the ceiling in kbit/s, headers included; see ``set_ceiling``.
            fps: pictures a second until enough capture times have been seen to know.
            codec: lz4 has no quality: its frames are left out where they do not fit.
        """
        self._max_quality = quality
        self._min_quality = min(min_quality, quality)
        self._lz4 = Lz4Encoder() if codec == Codec.LZ4 else None
        self._lossless_need = LosslessNeed()
        self._jpeg = JpegEncoder()
        self._intervals_us: deque[int] = deque([int(SECOND / fps)], maxlen=_INTERVALS)
        self._last_capture_us: int | None = None
        self._balance = 0.0  # bytes that may be sent now; negative: owed
        self._second: deque[tuple[int, int]] = deque()  # what the last second has sent: capture time, bytes
        self._second_bytes = 0
        self._scale = 100.0  # of the last frame
        self._bytes_per_pixel = _FIRST_GUESS  # of the last frame
        self._exponent = _EXPONENT
        self._picture_scale = PictureScale()
        self.quality = 0
        self.frames_skipped = 0
        self.frames_skipped_path = 0
        self.frames_encoded_again = 0
        self.set_ceiling(max_bitrate_kbps)

    def set_ceiling(self, max_bitrate_kbps: float) -> None:
        """From the next frame on: kbit/s for the pictures, all headers included, over any second."""
        self._second_max_bytes = max_bitrate_kbps * 1000 / 8 * _SECOND_SHARE
        self._bytes_per_second = self._second_max_bytes * _FRAMES_SHARE

    @property
    def fps(self) -> float:
        """Pictures a second: the median of the last intervals between captures."""
        return SECOND / sorted(self._intervals_us)[len(self._intervals_us) // 2]

    @property
    def scale(self) -> float:
        return self._picture_scale.scale

    def encode(
        self,
        image: Picture,
        capture_us: int,
        max_segment_bytes: int = DEFAULT_SEGMENT_BYTES,
        path_kbps: float = math.inf,
    ) -> EncodedFrame | None:
        """Compress a picture, or return None when there is no room for it.

        Args:
            image: uint8[h, w, 3] BGR or uint8[h, w] grey, any strides, at most 3840x2160.
            capture_us: when it was taken, CLOCK_MONOTONIC microseconds; tells the frame rate.
            max_segment_bytes: no segment is larger.
            path_kbps: what the path has for pictures now, all headers included; 0: nothing.

        Raises:
            ConfigError: the picture is too large.
            LocalProtocolError: it is not a picture.
        """
        if self._lz4 is not None:
            self._lossless_need.offered(capture_us, self.frames_skipped, self.fps, self._bytes_per_second)
        narrow = path_kbps * _PATH_SHARE * 1000 / 8 < self._bytes_per_second
        room = self._earn(capture_us, path_kbps) - DATAGRAM_OVERHEAD_BYTES
        room /= 1 + DATAGRAM_OVERHEAD_BYTES / (_TYPICAL_FILL * max_segment_bytes)
        if self._balance <= 0 or path_kbps <= 0:
            self._skip(narrow)
            return None
        if self._lz4 is not None:
            frame = self._lz4.encode(image, capture_us, max_segment_bytes)
        else:
            room = max(1.0, min(room, FRAME_MAX_BYTES * _AIM))
            frame = self._encode_jpeg(image, capture_us, max_segment_bytes, room)
        if len(frame.segments) > SHARDS_PER_FRAME_MAX or frame.coded_size > FRAME_MAX_BYTES:
            if not self.frames_skipped:
                log.warning(
                    "a frame of %.1f MB is over the limit of %.1f MB and is left out: choose a smaller width%s",
                    frame.coded_size / 1e6,
                    FRAME_MAX_BYTES / 1e6,
                    ", or a lower --min-quality" if self._lz4 is None else ", or the codec jpeg",
                )
            self.frames_skipped += 1
            return None
        size = frame.coded_size + len(frame.segments) * DATAGRAM_OVERHEAD_BYTES
        if self._lz4 is not None:
            self._lossless_need.packed(size)
        if self._second and self._second_bytes + size > self._second_max_bytes:
            self.frames_skipped += 1
            return None
        self._second.append((capture_us, size))
        self._second_bytes += size
        self._balance -= size
        return frame

    def _skip(self, narrow: bool) -> None:
        if narrow:
            self.frames_skipped_path += 1
        else:
            self.frames_skipped += 1

    def _earn(self, capture_us: int, path_kbps: float) -> float:
        """Add what the time since the last picture has earned; return a frame's share in bytes, headers included."""
        bytes_per_second = min(self._bytes_per_second, path_kbps * _PATH_SHARE * 1000 / 8)
        if self._last_capture_us is not None:
            elapsed_us = max(0, capture_us - self._last_capture_us)
            self._balance += bytes_per_second * elapsed_us / SECOND
            if elapsed_us:
                self._intervals_us.append(min(elapsed_us, _INTERVAL_MAX_US))
            share = bytes_per_second / self.fps
            self._balance = min(self._balance, share)
        else:
            share = self._balance = bytes_per_second / self.fps
        while (
            self._second and not 0 <= capture_us - self._second[0][0] < SECOND
        ):  # or somebody set the clock back
            self._second_bytes -= self._second.popleft()[1]
        self._last_capture_us = capture_us
        return share

    def _encode_jpeg(
        self, image: Picture, capture_us: int, max_segment_bytes: int, share: float
    ) -> EncodedFrame:
        if self.quality:  # before anything was compressed there is only a guess
            coarseness = self._fitting_scale(_AIM * share / self._pixels(image)) / _scale_of(
                self._min_quality
            )
            self._bytes_per_pixel *= self._picture_scale.choose(image, coarseness, self._exponent, capture_us)
        pixels = self._pixels(image)
        small = self._picture_scale.shrink(image)
        quality = self._next_quality(share / pixels)
        frame = self._jpeg.encode(small, quality, capture_us, max_segment_bytes)
        self._learn(frame, pixels, same_picture=False)
        if frame.coded_size > share and quality > self._min_quality:
            quality = min(quality - 1, self._fitting_quality(_AIM * share / pixels))
            frame = self._jpeg.encode(small, max(quality, self._min_quality), capture_us, max_segment_bytes)
            self._learn(frame, pixels, same_picture=True)
            self.frames_encoded_again += 1
        self.quality = frame.description.quality
        return self._picture_scale.describe(frame, image) if self._picture_scale.step else frame

    def _next_quality(self, share_per_pixel: float) -> int:
        last = self.quality or self._max_quality
        if self.quality and _BAND[0] <= self._bytes_per_pixel / share_per_pixel <= _BAND[1]:
            return last
        fitting = self._fitting_quality(_AIM * share_per_pixel)
        if self.quality and fitting > last:
            # Upwards half the way, because the model is a guess; a step too far costs a second encode.
            return last + (fitting - last + 1) // 2
        return fitting

    def _pixels(self, image: Picture) -> float:
        """Of the picture as it is sent."""
        return float(image.shape[0] * image.shape[1] * self._picture_scale.scale**2)

    def _fitting_scale(self, bytes_per_pixel: float) -> float:
        """The quantisation at which the last picture would have had so many bytes a pixel, libjpeg's percent."""
        return float(self._scale * (self._bytes_per_pixel / bytes_per_pixel) ** (1 / self._exponent))

    def _fitting_quality(self, bytes_per_pixel: float) -> int:
        """The quality at which the last picture would have had so many bytes a pixel, within the limits."""
        scale = self._fitting_scale(bytes_per_pixel)
        quality = int((200 - scale) / 2 if scale <= 100 else 5000 / scale)
        return min(max(quality, self._min_quality), self._max_quality)

    def _learn(self, frame: EncodedFrame, pixels: float, *, same_picture: bool) -> None:
        quality = frame.description.quality
        scale = _scale_of(quality)
        bytes_per_pixel = frame.coded_size / pixels
        if same_picture and scale > 1.1 * self._scale:
            # The same picture at two qualities: what the exponent really is.
            ratio = math.log(self._bytes_per_pixel / bytes_per_pixel) / math.log(scale / self._scale)
            exponent = self._exponent + _EXPONENT_GAIN * (ratio - self._exponent)
            self._exponent = min(max(exponent, _EXPONENT_LIMITS[0]), _EXPONENT_LIMITS[1])
        self._scale = scale
        self._bytes_per_pixel = bytes_per_pixel


def _scale_of(quality: int) -> float:
    """The quantisation of libjpeg in percent."""
    return max(1.0, 5000 / quality if quality < 50 else 200.0 - 2 * quality)
