"""A packet in place of a lost one: made-up sound, compressed here, so that the decoder goes on as if nothing had been lost.

A CELT decoder remembers: the second half of each overlap, how loud every band was, the pitch of its comb filter. Whatever else
is played for a lost packet, these are off, and for 30 ms so is all that follows. A packet that holds about the same sound sets
them about right.
"""

import ctypes

import numpy as np
from numpy.typing import NDArray

from udpconf.media import libopus

Pcm = NDArray[np.int16]
Samples = NDArray[np.float64]

# Fine enough for the sound to come out as it went in.
BITRATE_BPS = 128_000
# Before the frame in question the encoder hears so many others: after four its comb filter is the sender's, mostly; if it is not,
# it may be after more. With (4, 5) two of 314 frames of a sweep came out 3 dB too far off.
WARM_FRAMES = (4, 5, 6)
# Off by so small a share of the energy it need not be better.
MISMATCH_GOOD = 0.001
# If it is not yet as good, what came out too little is put in more, so often.
CORRECTIONS = 1
# What comes out may be off by a tenth of the energy: otherwise comb filters differ, and libopus's own concealment is safer.
MISMATCH_MAX = 0.1


class StandIn:
    """Makes them for one decoder.

    Args:
        library: from ``libopus.load``.
        sample_rate, channels: of the sound.
        frame: samples of a packet.
    """

    def __init__(self, library: ctypes.CDLL, sample_rate: int, channels: int, frame: int) -> None:
        self._frame = frame
        self._encoder = libopus.Encoder(library, sample_rate, channels, BITRATE_BPS)
        self.lookahead = self._encoder.lookahead

    def decode(
        self,
        decoder: libopus.Decoder,
        before: Samples,
        made_up: Samples,
        following: bytes | None,
        *,
        exact: bool,
    ) -> tuple[libopus.Decoder, Pcm] | None:
        """A decoder that goes on from ``made_up``, and what it plays.

        Args:
            decoder: it has decoded what was before; it stays as it is.
            before: [n, channels], as decoded: six frames or more.
            made_up: [frame + lookahead, channels], which follows.
            following: the packet that comes next, if it is there: it tells how well the decoder goes on.
            exact: the sound is sure enough for a good packet to be worth up to 2 ms; otherwise any that will do is taken.

        Returns:
            None: it came out too different.
        """
        energy = np.vdot(made_up, made_up) + made_up.size
        least = MISMATCH_MAX * energy
        good = (MISMATCH_GOOD if exact else MISMATCH_MAX) * energy
        best: tuple[libopus.Decoder, Pcm] | None = None
        wanted, best_warm_frames = made_up, WARM_FRAMES[0]
        for attempt in range(len(WARM_FRAMES) + CORRECTIONS):
            warm_frames = WARM_FRAMES[attempt] if attempt < len(WARM_FRAMES) else best_warm_frames
            packet = self._packet(before, made_up if attempt < len(WARM_FRAMES) else wanted, warm_frames)
            candidate = decoder.copy()
            played = candidate.decode(packet, self._frame)
            assert played is not None, "libopus decodes what it encoded"
            goes_on = None if following is None else candidate.copy().decode(following, self._frame)
            heard = played if goes_on is None else np.concatenate((played, goes_on[: self.lookahead]))
            lacks = made_up[: len(heard)] - heard
            mismatch = np.vdot(lacks, lacks)
            if mismatch <= least:
                best, least, best_warm_frames = (candidate, played), mismatch, warm_frames
                wanted = made_up.copy()
                wanted[: len(lacks)] += lacks
            if mismatch <= good:
                break
        return best

    def _packet(self, before: Samples, made_up: Samples, warm_frames: int) -> bytes:
        sound = np.concatenate((before, made_up))[-(warm_frames + 1) * self._frame :]
        pcm = np.clip(np.rint(sound), -32768, 32767).astype(np.int16)
        self._encoder.reset()
        for start in range(0, len(pcm), self._frame):
            packet = self._encoder.encode(pcm[start : start + self._frame])
        return packet
