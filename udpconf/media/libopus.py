"""libopus by ctypes: what PyAV's codec does not offer (a bit rate that changes, sound made up for a lost packet).

The library is the one in PyAV's wheel, or the system's. On Apple's ARM, C functions with a variable list of arguments take it
on the stack, which ctypes does not do: there PyAV has to do.
"""

import ctypes
import ctypes.util
import platform
import sys
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from udpconf.limits import OPUS_FRAME_MAX_BYTES
from udpconf.media.native import av

Pcm = NDArray[np.int16]

# <opus_defines.h>
_RESTRICTED_LOWDELAY = 2051
_SET_BITRATE, _SET_PACKET_LOSS, _GET_LOOKAHEAD, _RESET_STATE = 4002, 4014, 4027, 4028

_SHORTS = ctypes.POINTER(ctypes.c_int16)

# Called with the interpreter's lock held: 15 to 80 us take less than giving it to another thread and getting it back. (Where
# sixteen clients' sound is decoded, that happened twelve times in a hundredth of a second.)
_SHORT = ("opus_decode", "opus_decoder_get_nb_samples", "opus_decoder_get_size")
# The longest packet that Opus has, 120 ms, at its highest rate.
_SAMPLES_MAX = 5760


class Encoder:
    """Sound in, packets out. Not for two threads at once.

    Args:
        library: from ``load``.
        sample_rate, channels: of the sound.
        bitrate_bps: mean of the compressed sound.
    """

    def __init__(self, library: ctypes.CDLL, sample_rate: int, channels: int, bitrate_bps: int) -> None:
        self._library = library
        self._channels = channels
        error = ctypes.c_int()
        self._state = library.opus_encoder_create(
            sample_rate, channels, _RESTRICTED_LOWDELAY, ctypes.byref(error)
        )
        if not self._state:
            raise MemoryError(f"libopus made no encoder (error {error.value})")
        self._out = ctypes.create_string_buffer(OPUS_FRAME_MAX_BYTES)
        self.set_bitrate(bitrate_bps)

    def __del__(self) -> None:
        if state := getattr(self, "_state", None):
            self._library.opus_encoder_destroy(state)

    @property
    def lookahead(self) -> int:
        """Samples that come out later than they went in."""
        samples = ctypes.c_int32()
        self._library.opus_encoder_ctl(self._state, _GET_LOOKAHEAD, ctypes.byref(samples))
        return samples.value

    def set_bitrate(self, bitrate_bps: int) -> None:
        """From the next packet on."""
        self._library.opus_encoder_ctl(self._state, _SET_BITRATE, ctypes.c_int32(bitrate_bps))

    def set_packet_loss(self, percent: int) -> None:
        """How many packets are lost: the more, the less each leans on the one before."""
        self._library.opus_encoder_ctl(self._state, _SET_PACKET_LOSS, ctypes.c_int32(percent))

    def reset(self) -> None:
        """Forget all sound."""
        self._library.opus_encoder_ctl(self._state, _RESET_STATE)

    def encode(self, block: Pcm) -> bytes:
        """int16[n, channels], n a length that Opus has."""
        block = np.ascontiguousarray(block)
        size = self._library.opus_encode(
            self._state, block.ctypes.data_as(_SHORTS), len(block), self._out, OPUS_FRAME_MAX_BYTES
        )
        if size <= 0:
            raise ValueError(f"libopus encodes no {len(block)} samples (error {size})")
        return self._out.raw[:size]


class Decoder:
    """Packets in, sound out; every packet in order, or ``conceal`` in its place."""

    def __init__(self, library: ctypes.CDLL, sample_rate: int, channels: int) -> None:
        self._library = library
        self._sample_rate = sample_rate
        self._channels = channels
        error = ctypes.c_int()
        self._state = library.opus_decoder_create(sample_rate, channels, ctypes.byref(error))
        if not self._state:
            raise MemoryError(f"libopus made no decoder (error {error.value})")
        self._out = np.empty((_SAMPLES_MAX, channels), np.int16)
        self._out_address = self._out.ctypes.data
        self._lengths: dict[int, int] = {}  # samples of packets of one frame, by their first byte

    def __del__(self) -> None:
        if state := getattr(self, "_state", None):
            self._library.opus_decoder_destroy(state)

    def copy(self) -> "Decoder":
        """Another one that goes on from here. A state is one piece of memory, and may be copied as such (<opus.h>)."""
        other = Decoder(self._library, self._sample_rate, self._channels)
        ctypes.memmove(other._state, self._state, self._library.opus_decoder_get_size(self._channels))
        return other

    def decode(self, data: bytes, samples: int) -> Pcm | None:
        """int16[samples, channels]; None if it is no packet of that length, whatever the bytes."""
        return self._decode(data, samples) if data and self._samples_of(data) == samples else None

    def decode_to(self, address: int, data: bytes, samples: int) -> bool:
        """As ``decode``, into memory with room for it; False where that gives None, or if it is longer than any of ours."""
        if not 0 < len(data) <= OPUS_FRAME_MAX_BYTES or self._samples_of(data) != samples:
            return False
        came: int = self._library.opus_decode(self._state, data, len(data), address, samples, 0)
        return came == samples

    def conceal(self, samples: int) -> Pcm | None:
        """Made-up sound in place of a packet that did not come."""
        return self._decode(None, samples)

    def recover(self, following: bytes, samples: int) -> Pcm | None:
        """What the packet after a lost one knows of it (in-band FEC); where it knows nothing, the same as ``conceal``."""
        return self._decode(following, samples, fec=True) if self._samples_of(following) == samples else None

    def _samples_of(self, data: bytes) -> int:
        if data[0] & 3:  # of several frames
            return int(self._library.opus_decoder_get_nb_samples(self._state, data, len(data)))
        samples = self._lengths.get(data[0])
        if samples is None:
            samples = self._lengths[data[0]] = self._library.opus_decoder_get_nb_samples(
                self._state, data, len(data)
            )
        return samples

    def _decode(self, data: bytes | None, samples: int, *, fec: bool = False) -> Pcm | None:
        if not 0 < samples <= _SAMPLES_MAX:
            return None
        length = 0 if data is None else len(data)
        came = self._library.opus_decode(self._state, data, length, self._out_address, samples, int(fec))
        return self._out[:samples].copy() if came == samples else None


@cache
def load() -> ctypes.CDLL | None:
    """The library, with its functions declared; None where there is none, or none that ctypes can call."""
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return None
    for name in _candidates():
        try:
            library = ctypes.CDLL(name)
            short = ctypes.PyDLL(name)
            for function in _SHORT:
                setattr(library, function, getattr(short, function))
            _declare(library)
        except (OSError, AttributeError):  # not for this machine; not libopus
            continue
        return library
    return None


def _candidates() -> list[str]:
    package = Path(av.__file__).parent
    folders = [package.parent / "av.libs", package / ".dylibs"]
    found = [str(path) for folder in folders for path in sorted(folder.glob("*opus*")) if path.is_file()]
    system = ctypes.util.find_library("opus")
    return found if system is None else [*found, system]


def _declare(library: ctypes.CDLL) -> None:
    state, integer = ctypes.c_void_p, ctypes.c_int
    library.opus_encoder_create.restype = library.opus_decoder_create.restype = state
    library.opus_encoder_create.argtypes = [ctypes.c_int32, integer, integer, ctypes.POINTER(integer)]
    library.opus_decoder_create.argtypes = [ctypes.c_int32, integer, ctypes.POINTER(integer)]
    library.opus_encoder_destroy.argtypes = library.opus_decoder_destroy.argtypes = [state]
    library.opus_encoder_destroy.restype = library.opus_decoder_destroy.restype = None
    library.opus_encoder_ctl.restype = integer
    # A state, a request, and one argument: declared as far as they are always there.
    library.opus_encoder_ctl.argtypes = [state, integer]
    library.opus_encode.restype = ctypes.c_int32
    library.opus_encode.argtypes = [state, _SHORTS, integer, ctypes.c_char_p, ctypes.c_int32]
    library.opus_decode.restype = integer
    library.opus_decode.argtypes = [
        state,
        ctypes.c_char_p,
        ctypes.c_int32,
        ctypes.c_void_p,
        integer,
        integer,
    ]
    library.opus_decoder_get_size.restype = integer
    library.opus_decoder_get_size.argtypes = [integer]
    library.opus_decoder_get_nb_samples.restype = integer
    library.opus_decoder_get_nb_samples.argtypes = [state, ctypes.c_char_p, ctypes.c_int32]
