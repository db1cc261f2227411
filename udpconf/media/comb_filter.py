"""The comb filter that a CELT packet tells the decoder to use: read, and made stronger or weaker (RFC 6716, sections 4.1, 4.3, 4.3.7.1).

The encoder takes out what the decoder's filter adds: what repeats a pitch period later. How much is among the bits that stand
uncoded at the packet's end, so another strength can be put there without coding anything anew.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]

# Of the first byte: less is no CELT; and how many frames follow, 0 for one.
_CELT_MIN = 16 << 3
_FRAME_COUNT_MASK = 3
# What is coded first, as chances: silence is one in 2^15, the filter is on in half of all frames, six octaves are equally likely;
# after that the first set of taps is as likely as the other two together.
_SILENCE_BITS, _OCTAVES = 15, 6
# The uncoded bits begin with where in its octave the period is, one more for each octave; then comes the strength.
_PERIOD_BITS, _STRENGTH_MAX = 4, 7
# In shorter packets what is coded may reach the uncoded bits.
_LENGTH_MIN = 16
# Of the strength, for the sample a period before, its neighbours, and theirs.
_TAPS = (
    (0.306640625, 0.2170410156, 0.1296386719),
    (0.4638671875, 0.2680664062, 0.0),
    (0.7998046875, 0.1000976562, 0.0),
)
_STRENGTH_STEP = 0.09375


class CombFilter(NamedTuple):
    """As in one packet."""

    period: int  # samples at 48 kHz
    strength: int  # 0 to 7
    taps: int  # 0 to 2


def comb_filter(packet: bytes) -> CombFilter | None:
    """None: it is off, or this is no packet of one CELT frame. Never raises, whatever the bytes."""
    if len(packet) < _LENGTH_MIN or packet[0] < _CELT_MIN or packet[0] & _FRAME_COUNT_MASK:
        return None
    # So few symbols fit into the range decoder's first 31 bits: nothing has to be shifted in.
    width = 1 << 31
    value = width - 1 - (int.from_bytes(packet[1:5], "big") >> 1)
    silence = width >> _SILENCE_BITS
    filtered = (width - silence) >> 1
    value -= silence
    if not 0 <= value < filtered:
        return None
    share = filtered // _OCTAVES
    step = min(value // share, _OCTAVES - 1)
    octave = _OCTAVES - 1 - step
    value -= step * share
    quarter = (share if octave else filtered - step * share) >> 2
    taps = 0 if value >= 2 * quarter else 1 if value >= quarter else 2
    uncoded = _uncoded(packet)
    place = _PERIOD_BITS + octave
    period = (16 << octave) + (uncoded & (1 << place) - 1) - 1
    return CombFilter(period, uncoded >> place & _STRENGTH_MAX, taps)


def with_strength(packet: bytes, strength: int) -> bytes:
    """The same packet, its filter, which is on, as strong as that."""
    comb = comb_filter(packet)
    assert comb is not None
    place = _PERIOD_BITS + ((comb.period + 1) // 16).bit_length() - 1
    uncoded = _uncoded(packet) & ~(_STRENGTH_MAX << place) | strength << place
    return packet[:-2] + uncoded.to_bytes(2, "big")


def allowing_for(sound: Samples, comb: CombFilter, strength: int) -> Samples:
    """What to encode so that ``sound`` comes out if the encoder filters with ``comb`` and the decoder as strongly as that.

    ``sound``: [n, channels]. The beginning is taken to follow on the end.
    """
    radians = 2 * np.pi * np.fft.rfftfreq(len(sound))
    here, next_to_it, beyond = _TAPS[comb.taps]
    repeats = np.exp(-1j * radians * comb.period) * (
        here + 2 * next_to_it * np.cos(radians) + 2 * beyond * np.cos(2 * radians)
    )
    wanted, is_done = (1 - _STRENGTH_STEP * (each + 1) * repeats for each in (strength, comb.strength))
    spectra = np.fft.rfft(sound, axis=0) * (wanted / is_done)[:, np.newaxis]
    allowed: Samples = np.fft.irfft(spectra, len(sound), axis=0)
    return allowed


def _uncoded(packet: bytes) -> int:
    """The first sixteen bits, of which twelve matter at the most: they stand in the last bytes, from the lowest bit on."""
    return int.from_bytes(packet[-2:], "big")
