"""A packet in place of a lost one: made-up sound, compressed here, so that the decoder goes on as if nothing had been lost.

A CELT decoder remembers: the second half of each overlap, how loud every band was, the pitch of its comb filter. Whatever else
is played for a lost packet, these are off, and for 30 ms so is all that follows. A packet that holds about the same sound sets
them about right.
"""

import ctypes

import numpy as np
from numpy.typing import NDArray

from udpconf.media import libopus
from udpconf.media.comb_filter import CombFilter, allowing_for, comb_filter, with_strength

Pcm = NDArray[np.int16]
Samples = NDArray[np.float64]

# Fine enough for the sound to come out as it went in.
BITRATE_BPS = 128_000
# The encoder is told that so many packets are lost: it then writes how loud the bands are in full, not by how much they differ from
# the packet before, which is not the one that the decoder had. From 3 on it has another comb filter.
PACKET_LOSS_PERCENT = 2
# Before the frame in question the encoder hears so many others: after two the bands are always written in full, and its comb filter
# is the sender's, mostly; if it is not, it may be after more.
WARM_FRAMES = (2, 3, 4)
# Off by so small a share of the energy it need not be better.
MISMATCH_GOOD = 0.001
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
        self._encoder.set_packet_loss(PACKET_LOSS_PERCENT)
        self.lookahead = self._encoder.lookahead

    def decode(
        self,
        decoder: libopus.Decoder,
        before: Samples,
        made_up: Samples,
        comb: CombFilter | None,
        following: bytes | None,
        *,
        good: float,
    ) -> tuple[libopus.Decoder, Pcm] | None:
        """A decoder that goes on from ``made_up``, and what it plays.

        Args:
            decoder: it has decoded what was before; it stays as it is.
            before: [n, channels], as decoded: six frames or more.
            made_up: [frame + lookahead, channels], which follows.
            comb: of the packet before.
            following: the packet that comes next, if it is there: it tells how well the decoder goes on.
            good: a packet that is off by no more than this share of the energy is taken, though another may be better.

        Returns:
            None: it came out too different.
        """
        energy = np.vdot(made_up, made_up) + made_up.size
        least = MISMATCH_MAX * energy
        best: tuple[libopus.Decoder, Pcm] | None = None
        for warm_frames in WARM_FRAMES:
            sound = np.concatenate((before, made_up))[-(warm_frames + 1) * self._frame :]
            packet = self._packet(sound, comb)
            candidate = decoder.copy()
            played = candidate.decode(packet, self._frame)
            assert played is not None, "libopus decodes what it encoded"
            goes_on = None if following is None else candidate.copy().decode(following, self._frame)
            heard = played if goes_on is None else np.concatenate((played, goes_on[: self.lookahead]))
            lacks = made_up[: len(heard)] - heard
            mismatch = np.vdot(lacks, lacks)
            if mismatch <= least:
                best, least = (candidate, played), mismatch
            if mismatch <= max(good, MISMATCH_GOOD) * energy:
                break
        return best

    def _packet(self, sound: Samples, comb: CombFilter | None) -> bytes:
        """For the last frame, its comb filter as strong as that one."""
        packet = self._encoded(sound)
        own = comb_filter(packet)
        if comb is None or own is None or own.strength == comb.strength:
            return packet
        # The first frame decides how strong an encoder's filter is from then on: it stays as it is.
        share = np.clip(np.arange(len(sound)) / self._frame - 1, 0, 1)[:, np.newaxis]
        packet = self._encoded(sound + share * (allowing_for(sound, own, comb.strength) - sound))
        return packet if comb_filter(packet) is None else with_strength(packet, comb.strength)

    def _encoded(self, sound: Samples) -> bytes:
        pcm = np.clip(np.rint(sound), -32768, 32767).astype(np.int16)
        self._encoder.reset()
        for start in range(0, len(pcm), self._frame):
            packet = self._encoder.encode(pcm[start : start + self._frame])
        return packet
