"""Pictures and sound in, one session out: the sending half of the public API.

send_video ─► JPEG or lz4 ─► packetize ─► pacer ─► socket      (what the pacer holds back: the network thread)
send_audio ─► [voice] ─► Opus (70 us per 10 ms) ─► packetize ─► socket

All of it in the caller's thread: a copy of the picture and two hand-overs took a third as long as compressing it.
"""

import dataclasses
import socket
import threading
from types import TracebackType
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from udpconf.app.connection import Connection
from udpconf.config import (
    DEFAULT_PORT,
    check_audio_channels,
    check_audio_frame_ms,
    check_bitrate_kbps,
    check_latency_ms,
    check_passphrase,
    check_quality,
    parse_target,
)
from udpconf.errors import ConfigError, ConnectError, LocalProtocolError
from udpconf.frames import Codec, is_silence_mark
from udpconf.limits import DATAGRAM_MAX_BYTES, MS, SECOND
from udpconf.media.opus import SAMPLE_RATE, OpusEncoder, OpusFramer
from udpconf.media.picture import checked_picture
from udpconf.media.rate import RateLimitedEncoder
from udpconf.media.silence import SilenceGate
from udpconf.media.voice import Voice
from udpconf.net.clock import monotonic_us
from udpconf.proto.client_config import ClientConfig
from udpconf.proto.drift import DriftControl
from udpconf.proto.stats import SenderStats

# Opus has no constant rate: its frames are averaged over this many, and some more is left for it. The first guess is
# 32 kbit/s and a byte.
_SOUND_SMOOTHING = 1 / 50
_SOUND_RESERVE = 1.1
_SOUND_FIRST_KBPS = 33.0  # of each channel
# A probe of the path in any second (proto/path_mtu.py).
_PROBES_KBPS = (DATAGRAM_MAX_BYTES + 48) * 8 / 1000
# The pictures' part of the ceiling when sound leaves them next to nothing.
_VIDEO_MIN_KBPS = 10.0


class Sender:
    """A session with a server, for video, sound or both. A lost server is looked for until it answers again.

    Use it as a context manager, or call ``close``. All methods may be called from any thread.

    Attributes:
        host, port: where the server is.
    """

    def __init__(
        self,
        host: str,
        port: int = DEFAULT_PORT,
        *,
        passphrase: str | None = None,
        name: str | None = None,
        video: bool = True,
        audio: bool = True,
        max_bitrate_kbps: int = 4000,
        quality: int = 75,
        min_quality: int = 20,
        latency_ms: float | None = None,
        connect_timeout: float = 10.0,
        codec: Literal["jpeg", "lz4"] = "jpeg",
        fps: float = 30.0,
        mux_audio: bool = False,
        recovery: bool = True,
        voice: bool = False,
        audio_channels: int = 1,
        audio_frame_ms: int = 10,
        dtx: bool = False,
    ) -> None:
        """Connect, and return once the server has welcomed us.

        Args:
            host: name, IPv4 or IPv6 address, or the URL that the server printed (``udpconf://host:port/#key``).
            port: UDP port, unless the URL names one.
            passphrase: the room's secret; None takes the URL's, and without that joins an open room.
            name: a label of at most 64 bytes, shown to people; None takes this machine's name.
            video: pictures are offered; if not, ``send_video`` may not be called.
            audio: sound is offered; if not, ``send_audio`` may not be called.
            max_bitrate_kbps: ceiling in kbit/s for everything sent, IP headers included, over any second.
            quality: upper limit of the JPEG quality, 1..100.
            min_quality: lower limit; in between the ceiling and the path decide, frame by frame, and below it by sending
                smaller pictures, which are shown as large as before.
            latency_ms: show each frame this many milliseconds after its capture (the larger of both sides counts), or
                None: as early as the path allows.
            connect_timeout: seconds until giving up on a server that does not answer.
            codec: ``jpeg``, or ``lz4`` for lossless pictures on a fast network, with a ceiling to match.
            fps: how often ``send_video`` will be called, roughly: each frame gets its share of the ceiling.
            mux_audio: send sound through the main port, for firewalls that let only one through.
            recovery: send parity with the pictures, and more of what the server misses; if not, lost datagrams are
                holes in one picture, and no byte is spent on them.
            voice: the sound is somebody talking: take noise and rumble out of it, make it evenly loud, and if ``played``
                is called take its echo out, too. Adds 7 ms to sound's delay, 15 with the echo; off for music.
            audio_channels: 1, or 2 for stereo, which takes twice the bits.
            audio_frame_ms: of sound in a packet: 5, 10 or 20. The shorter, the sooner it is heard, and the fewer bytes are left
                for what losses take.
            dtx: leave silence out: next to nothing is sent while the sound is hardly louder than the room.

        Raises:
            MissingDependencyError: ``voice`` was asked for, and livekit is not installed.
            ConnectError: nobody answered, or the server does not want us (see its ``reason``).
            ConfigError: a setting is out of its range.
        """
        target = parse_target(host, port)
        if passphrase is None:
            passphrase = target.passphrase
        else:
            check_passphrase(passphrase)
        check_quality(quality, min_quality)
        check_bitrate_kbps(max_bitrate_kbps)
        check_latency_ms(latency_ms)
        check_audio_channels(audio_channels)
        if voice and audio_channels != 1:
            raise ConfigError("A voice that is cleaned is one channel; choose either voice or stereo.")
        check_audio_frame_ms(audio_frame_ms)
        if codec not in ("jpeg", "lz4"):
            raise ConfigError(f"There is no codec {codec!r}; choose jpeg or lz4.")
        if not fps > 0:
            raise ConfigError(f"{fps} frames a second cannot be sent; choose a positive rate (default 30).")
        self._voice = Voice() if voice else None
        self.host, self.port = target.host, target.port
        self._video, self._audio = video, audio
        self._encoder = RateLimitedEncoder(
            quality, min_quality, max_bitrate_kbps, fps, Codec.LZ4 if codec == "lz4" else Codec.JPEG
        )
        self._max_bitrate_kbps = max_bitrate_kbps
        self._sound_packets_per_second = 1000 / audio_frame_ms
        self._sound_bytes = (
            _SOUND_FIRST_KBPS * audio_channels * audio_frame_ms / 8
        )  # of an Opus frame, on average
        self._sound_us: int | None = None  # when the last one was sent
        encoder = OpusEncoder(channels=audio_channels, frame_us=audio_frame_ms * MS)
        self._gate = SilenceGate(audio_frame_ms * MS) if dtx else None
        self._framer = OpusFramer(encoder, DriftControl(), self._gate)
        self._audio_lock = threading.Lock()  # the framer counts samples: one block after the other
        self._encoding = threading.Lock()
        self._next_frame_id = 0
        self._dropped_away = 0
        self._closed = False
        self._connection = Connection(
            target.host,
            target.port,
            ClientConfig(
                passphrase,
                name=socket.gethostname() if name is None else name,
                video=video,
                audio=audio,
                max_bitrate_kbps=max_bitrate_kbps,
                latency_us=None if latency_ms is None else int(latency_ms * MS),
                mux_audio=mux_audio,
                recovery=recovery,
                audio_channels=audio_channels,
                audio_frame_us=audio_frame_ms * MS,
            ),
        )
        self._connection.connect(connect_timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def connected(self) -> bool:
        """There is a session now. False while a lost server is looked for, and after ``close``."""
        return self._connection.connected

    @property
    def lost_reason(self) -> str | None:
        """Why the last session ended, in words (silence, or what the server said), or None if none has yet."""
        return self._connection.lost_reason

    @property
    def error(self) -> ConnectError | None:
        """Why the server will not have us back (for example a new passphrase), or None."""
        return self._connection.error

    def send_video(self, image: NDArray[np.uint8], capture_us: int | None = None) -> int:
        """Compress a picture and send it. Takes as long as the compression, about 1 ms at 640x360 and 40 ms at 4K, and
        waits for nobody: no network, no server, no queue. The image may be reused when it returns.

        Args:
            image: uint8[h, w, 3] BGR or uint8[h, w] grey, any strides, up to 3840x2160; the size may change.
            capture_us: when it was captured, this machine's CLOCK_MONOTONIC, microseconds; None: now.

        Returns:
            The frame's id, counted from 0, which the server's ``Frame.frame_id`` repeats. While the server is away
            frames are dropped and counted (``frames_dropped_away``).

        Raises:
            LocalProtocolError: the array is no picture, the sender is closed or was opened without video.
            ConfigError: the picture is too large.
            ConnectError: the server was lost and does not want us back.
        """
        self._check_open("video", offered=self._video)
        image = checked_picture(image)
        if capture_us is None:
            capture_us = monotonic_us()
        with self._encoding:  # ids and frames in one order, whoever calls
            frame_id = self._next_frame_id
            self._next_frame_id += 1
            if not self._connection.connected:
                self._dropped_away += 1
                return frame_id
            protected = 1 + self._connection.parity_share
            self._encoder.set_ceiling(self._ceiling_kbps() / protected)
            path_kbps = self._connection.path_kbps / protected
            segment_bytes = self._connection.segment_max_bytes
            encoded = self._encoder.encode(image, capture_us, segment_bytes, path_kbps)
            if encoded is not None:
                self._connection.post(lambda endpoint, now_us: endpoint.send_frame(now_us, frame_id, encoded))
        return frame_id

    def send_audio(self, pcm: NDArray[np.int16], capture_us: int | None = None) -> None:
        """Send sound as it is captured; blocks of any length follow one another.

        Of more than 400 ms at once (a whole file) the listener keeps the last: send it a piece at a time, at its pace.

        Args:
            pcm: int16[n] or int16[n, channels] at 48 kHz; mixed to one channel, or with ``audio_channels=2`` one is
                doubled, and more than two are mixed to one that is doubled.
            capture_us: when the first sample was captured, this machine's CLOCK_MONOTONIC, microseconds; None: the
                last sample is from now.

        Raises:
            LocalProtocolError: the sender is closed or was opened without audio.
            ConfigError: the array is no sound.
            ConnectError: the server was lost and does not want us back.
        """
        self._check_open("audio", offered=self._audio)
        if capture_us is None:
            capture_us = monotonic_us() - len(pcm) * SECOND // SAMPLE_RATE
        with self._audio_lock:
            if self._voice is not None:
                pcm, capture_us = self._voice.process(pcm, capture_us)
            self._framer.encoder.set_bitrate(self._connection.sound_bitrate_bps)
            for data, frame_us in self._framer.push(pcm, capture_us):
                self._post_audio(data, frame_us)

    def played(self, pcm: NDArray[np.int16]) -> None:
        """Tell what a loudspeaker in the microphone's room plays, so that its echo is not sent. Needs ``voice=True``.

        Args:
            pcm: int16[n] or int16[n, channels] at 48 kHz, block after block, when they are given to the loudspeaker.

        Raises:
            LocalProtocolError: the sender was opened without ``voice``.
            ConfigError: the array is no sound.
        """
        if self._voice is None:
            raise LocalProtocolError("This sender was opened with voice=False; open it with voice=True.")
        self._voice.played(pcm)

    def set_latency(self, latency_ms: float | None) -> None:
        """Change what was asked for as ``latency_ms``, within a round trip and for later sessions.

        Raises:
            ConfigError: it is out of its range.
        """
        check_latency_ms(latency_ms)
        latency_us = None if latency_ms is None else int(latency_ms * MS)
        self._connection.post(lambda endpoint, now_us: endpoint.set_latency(now_us, latency_us))

    def stats(self) -> SenderStats:
        """Plain numbers with their units in their names; the list is in docs/statistics.md."""
        # The endpoint's object goes on counting: the snapshot is taken in its thread.
        stats = self._connection.call(lambda endpoint, now_us: dataclasses.replace(endpoint.stats(now_us)))
        stats = SenderStats(state="closed") if stats is None else stats
        stats.frames_dropped_away += self._dropped_away
        stats.frames_skipped_ceiling = self._encoder.frames_skipped
        stats.frames_skipped_path = self._encoder.frames_skipped_path
        stats.quality, stats.picture_scale = self._encoder.quality, self._encoder.scale
        stats.audio_silent_s = 0.0 if self._gate is None else self._gate.silent_us / SECOND
        return stats

    def close(self) -> None:
        """Say goodbye and end the network thread. Takes up to 300 ms; may be repeated."""
        self._closed = True
        self._connection.close()

    def _check_open(self, what: str, *, offered: bool) -> None:
        if self._closed:
            raise LocalProtocolError(f"This sender is closed; no {what} can be sent.")
        if not offered:
            raise LocalProtocolError(f"This sender was opened with {what}=False; open it with {what}=True.")
        error = self._connection.error
        if error is not None:
            raise error

    def _ceiling_kbps(self) -> float:
        """What the probes of the path leave of the user's ceiling, and sound, for as long as there is any."""
        ceiling_kbps = self._max_bitrate_kbps - _PROBES_KBPS
        if self._sound_us is not None and monotonic_us() - self._sound_us <= SECOND:
            packet_bytes = self._connection.sound_packet_bytes(self._sound_bytes)
            ceiling_kbps -= packet_bytes * self._sound_packets_per_second * 8 / 1000 * _SOUND_RESERVE
        return max(ceiling_kbps, _VIDEO_MIN_KBPS)

    def _post_audio(self, data: bytes, capture_us: int) -> None:
        # A pause keeps its part of the ceiling: speech comes back without asking.
        if not is_silence_mark(data):
            self._sound_bytes += (len(data) - self._sound_bytes) * _SOUND_SMOOTHING
        self._sound_us = monotonic_us()
        self._connection.post(lambda endpoint, now_us: endpoint.send_audio(now_us, data, capture_us))
