"""From the sound before a lost frame to what comes after it: made up of an earlier piece, and known to the decoder."""

import ctypes
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from udpconf.media import libopus
from udpconf.media.comb_filter import CombFilter, comb_filter
from udpconf.media.interpolation import BEFORE, are_alike, as_pcm, extend, fill
from udpconf.media.stand_in import MISMATCH_GOOD, MISMATCH_MAX, StandIn

Pcm = NDArray[np.int16]
Samples = NDArray[np.float64]

# From how like its neighbours sound must be to be made up of an earlier piece. With the frame that follows at hand: below it
# libopus's own concealment is as near to speech. Without: only what is as good as periodic goes on as it did.
FILL_LIKENESS = 0.8
EXTEND_LIKENESS = 0.98
# Up to here the course is taken anew if it does not lead to the next frame; above it, the frame's comb filter is to blame. Of a
# sweep at 64 kbit/s it is 0.9999, at 32 it is 0.9994 to 0.9997.
NOISY_LIKENESS = 0.9998


class Bridged(NamedTuple):
    """What is heard in place of the frame, and what goes on from there."""

    played: Pcm  # [frame, channels]
    decoder: libopus.Decoder
    ahead: Samples | None  # made up beyond the frame, to lead over to the next one


class _Before(NamedTuple):
    """What the last bridge was made from."""

    decoder: libopus.Decoder
    heard: Samples
    sound: Samples  # [frame + lookahead, channels], made up
    comb: CombFilter | None


class Bridge:
    """Makes these for one decoder.

    Args:
        library: from ``libopus.load``.
        sample_rate, channels: of the sound.
        frame: samples of a packet.
    """

    def __init__(self, library: ctypes.CDLL, sample_rate: int, channels: int, frame: int) -> None:
        self._frame = frame
        self._stand_in = StandIn(library, sample_rate, channels, frame)
        # Up to the end of the overlap of the frame after it, which is not as it should be.
        self._gap = frame + self._stand_in.lookahead
        self._last: _Before | None = None  # while it may be reconsidered

    def across(
        self, decoder: libopus.Decoder, heard: Samples, comb: CombFilter | None, following: bytes | None
    ) -> Bridged | None:
        """None: no piece fits.

        Args:
            decoder: it has decoded what was before; it stays as it is.
            heard: [n, channels], as decoded, BEFORE or more.
            comb: of the packet before.
            following: the packet that comes next, if it is there.
        """
        self._last = None
        bridged = self._as_it_went_on(decoder, heard, comb, following)
        if bridged is not None or following is None:
            return bridged
        ahead = decoder.copy()
        ahead.conceal(self._frame)
        sound = self._fitted(heard, ahead, following, FILL_LIKENESS)
        found = (
            None
            if sound is None
            else self._stand_in.decode(decoder, heard, sound, None, following, good=MISMATCH_MAX)
        )
        return None if found is None else Bridged(found[1], found[0], None)

    def reconsidered(self, decoder: libopus.Decoder, following: bytes) -> libopus.Decoder:
        """The decoder that goes on from the last bridge, or a better one, now that the next packet is there.

        Where a comb filter's strength changes, the lost packet may have had the one before or the one after.
        """
        last, self._last = self._last, None
        comb = comb_filter(following)
        if last is None or comb is None or last.comb is None or comb.strength == last.comb.strength:
            return decoder
        other = self._stand_in.decode(
            last.decoder, last.heard, last.sound, comb, following, good=MISMATCH_GOOD
        )
        if other is None:
            return decoder
        return min(decoder, other[0], key=lambda one: self._misses(following, one, last.sound))

    def _misses(self, following: bytes, decoder: libopus.Decoder, sound: Samples) -> float:
        """By how much energy the beginning of the next frame would differ from what was made up."""
        after = decoder.copy().decode(following, self._frame)
        if after is None:
            return 0.0
        lacks = sound[self._frame : self._gap] - after[: self._stand_in.lookahead]
        return float(np.vdot(lacks, lacks))

    def _as_it_went_on(
        self, decoder: libopus.Decoder, heard: Samples, comb: CombFilter | None, following: bytes | None
    ) -> Bridged | None:
        # Beyond the gap as much again to lead over to the next frame: if the comb filter's period is another there, the overlap
        # is what suffers.
        made_up = extend(heard[-BEFORE:], self._gap + self._stand_in.lookahead)
        if made_up.likeness < EXTEND_LIKENESS:
            return None
        sound = made_up.sound
        # It need be no nearer to what is made up than that is to the sound.
        good = 1 - made_up.likeness
        found = self._stand_in.decode(decoder, heard, sound[: self._gap], comb, following, good=good)
        noisy = made_up.likeness < NOISY_LIKENESS
        if noisy and found and following and not self._leads_to(following, found[0], sound):
            # With noise in it the course is not known as well as that; but the next frame is about right now, and tells.
            between = self._fitted(heard, found[0], following, EXTEND_LIKENESS)
            if between is not None:
                again = self._stand_in.decode(decoder, heard, between, comb, following, good=good)
                if again is not None:
                    found, sound = again, between
        if found is None:
            return None
        self._last = _Before(decoder, heard, sound[: self._gap], comb)
        frame, ahead = np.split(sound, [self._frame])
        return Bridged(found[1] if are_alike(frame, found[1]) else as_pcm(frame), found[0], ahead)

    def _leads_to(self, following: bytes, decoder: libopus.Decoder, sound: Samples) -> bool:
        after = decoder.copy().decode(following, self._frame)
        return after is None or are_alike(sound[self._frame : self._gap], after[: self._stand_in.lookahead])

    def _fitted(
        self, heard: Samples, decoder: libopus.Decoder, following: bytes, likeness: float
    ) -> Samples | None:
        """What fits before the next frame, as that decoder has it, as well as after what was heard."""
        after = decoder.copy().decode(following, self._frame)
        if after is None:
            return None
        filled = fill(heard[-BEFORE:], after[self._stand_in.lookahead :].astype(np.float64), self._gap)
        return filled.sound if filled.likeness >= likeness else None
