"""Systematic Reed-Solomon code over GF(2^8): any k of a block's shards give its k data shards back.

The matrix is that of zfec (Luigi Rizzo's fec.c, 1998): a Vandermonde matrix made systematic. A parity shard's bytes
depend on k, its index and the data alone, not on how much parity is made, so more of it can be sent later. zfec does the
arithmetic where it is installed; it has no wheel for Linux on arm64, and there NumPy makes the same bytes, more slowly.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from udpconf.errors import LocalProtocolError

try:
    import zfec
except ImportError:
    zfec = None

# The field has so many elements besides zero, and each makes a shard: data and parity together.
SHARDS_PER_BLOCK_MAX = 255
# x^8 + x^4 + x^3 + x^2 + 1, zfec's and nearly everybody's.
_POLYNOMIAL = 0x11D
# A stream has few different block sizes at a time. A matrix takes up to 64 KB, and up to 3 ms to make (k = 128).
_CACHED_MATRICES = 64


class ErasureCode:
    """The code for every k. Takes and gives plain bytes; keeps no state of a stream."""

    def __init__(self, *, use_zfec: bool = True) -> None:
        """Use zfec if it is installed and not declined; the bytes are the same either way."""
        self._engine: _Engine = _ZfecEngine() if use_zfec and zfec is not None else _NumpyEngine()

    def encode(self, k: int, shards: Sequence[bytes], parity_indexes: Sequence[int]) -> list[bytes]:
        """The parity shards with these indexes.

        Args:
            k: number of data shards, 1..254.
            shards: the k data shards, all of one length.
            parity_indexes: each k..254.

        Raises:
            LocalProtocolError: an argument is outside these bounds.
        """
        if not 1 <= k <= SHARDS_PER_BLOCK_MAX or len(shards) != k or len(set(map(len, shards))) != 1:
            raise LocalProtocolError(f"A block of {k} needs as many data shards of one length.")
        if not all(k <= index < SHARDS_PER_BLOCK_MAX for index in parity_indexes):
            raise LocalProtocolError(
                f"Parity of a block of {k} has an index from {k} to {SHARDS_PER_BLOCK_MAX - 1}."
            )
        return self._engine.encode(k, shards, parity_indexes) if parity_indexes else []

    def decode(self, k: int, available: Mapping[int, bytes]) -> list[bytes]:
        """The k data shards, from any k shards by their indexes; more are ignored.

        Args:
            k: number of data shards, 1..255.
            available: index (data 0..k-1, parity k..254) to shard, all of one length.

        Raises:
            LocalProtocolError: fewer than k, of several lengths, or with an index outside these bounds.
        """
        # zfec loops for ever on an index that comes twice, and reads outside its matrix for one that is too large; a
        # mapping rules out the first, this line the second.
        if not 1 <= k <= SHARDS_PER_BLOCK_MAX or not all(0 <= i < SHARDS_PER_BLOCK_MAX for i in available):
            raise LocalProtocolError(f"A shard has an index from 0 to {SHARDS_PER_BLOCK_MAX - 1}.")
        # Data shards first: each of them is a row less to compute.
        indexes = sorted(available)[:k]
        if len(indexes) < k or len({len(available[index]) for index in indexes}) != 1:
            raise LocalProtocolError(f"A block of {k} needs {k} shards of one length to be decoded.")
        if indexes[-1] < k:
            return [available[index] for index in indexes]
        return self._engine.decode(k, indexes, [available[index] for index in indexes])


class _Engine(Protocol):
    def encode(self, k: int, shards: Sequence[bytes], parity_indexes: Sequence[int]) -> list[bytes]: ...
    def decode(self, k: int, indexes: list[int], shards: list[bytes]) -> list[bytes]: ...


class _ZfecEngine:
    def encode(self, k: int, shards: Sequence[bytes], parity_indexes: Sequence[int]) -> list[bytes]:
        encoded: list[bytes] = _zfec_encoder(k).encode(list(shards), list(parity_indexes))
        return encoded

    def decode(self, k: int, indexes: list[int], shards: list[bytes]) -> list[bytes]:
        decoded: list[bytes] = _zfec_decoder(k).decode(shards, indexes)
        return decoded


@lru_cache(maxsize=_CACHED_MATRICES)
def _zfec_encoder(k: int) -> "zfec.Encoder":
    return zfec.Encoder(k, SHARDS_PER_BLOCK_MAX)


@lru_cache(maxsize=_CACHED_MATRICES)
def _zfec_decoder(k: int) -> "zfec.Decoder":
    return zfec.Decoder(k, SHARDS_PER_BLOCK_MAX)


class _NumpyEngine:
    """The same code as interpolation: shard i is the value at a point of its own of the polynomial through the data."""

    def encode(self, k: int, shards: Sequence[bytes], parity_indexes: Sequence[int]) -> list[bytes]:
        return _combined(_lagrange(range(k), parity_indexes), shards)

    def decode(self, k: int, indexes: list[int], shards: list[bytes]) -> list[bytes]:
        missing = sorted(set(range(k)) - set(indexes))
        found = dict(zip(indexes, shards, strict=True))
        found.update(zip(missing, _combined(_lagrange(indexes, missing), shards), strict=True))
        return [found[index] for index in range(k)]


def _power_table() -> list[int]:
    """The 255 powers of x, which are all elements of the field but 0."""
    powers = [1]
    while len(powers) < 255:
        double = powers[-1] << 1
        powers.append(double ^ _POLYNOMIAL if double & 0x100 else double)
    return powers


_POWERS = _power_table()
# The logarithm of 0 is wrong; nobody asks for it.
_LOGARITHMS = np.argsort([0, *_POWERS]) - 1
# Shard i's point is x^(i-1), and that of shard 0 is 0: the rows of fec.c's Vandermonde matrix.
_POINTS = np.array([0, *_POWERS[: SHARDS_PER_BLOCK_MAX - 1]])
# For each factor, where each byte goes when multiplied by it: bytes.translate multiplies a shard in a microsecond.
_TIMES = [
    bytes(
        [0, *(_POWERS[(int(_LOGARITHMS[factor]) + int(_LOGARITHMS[byte])) % 255] for byte in range(1, 256))]
    )
    for factor in range(1, 256)
]
_TIMES.insert(0, bytes(256))


def _lagrange(known: Sequence[int], wanted: Sequence[int]) -> NDArray[np.intp]:
    """The factors that make each wanted shard out of the known ones, shape [wanted, known].

    Lagrange's formula, factor[w, j] = prod(p_w - p_m) / ((p_w - p_j) prod(p_j - p_m)) over all known m but j, as sums of
    logarithms. No wanted shard may be a known one.
    """
    known_points = _POINTS[list(known)]
    to_known = _LOGARITHMS[_POINTS[list(wanted)][:, np.newaxis] ^ known_points]
    among_known = _LOGARITHMS[known_points[:, np.newaxis] ^ known_points]
    np.fill_diagonal(among_known, 0)
    logarithms = to_known.sum(axis=1, keepdims=True) - to_known - among_known.sum(axis=1)
    return np.asarray(np.array(_POWERS)[logarithms % 255], np.intp)


def _combined(factors: NDArray[np.intp], shards: Sequence[bytes]) -> list[bytes]:
    combined = []
    for row in factors.tolist():
        terms = b"".join(shard.translate(_TIMES[factor]) for factor, shard in zip(row, shards, strict=True))
        combined.append(
            np.bitwise_xor.reduce(np.frombuffer(terms, np.uint8).reshape(len(shards), -1)).tobytes()
        )
    return combined
