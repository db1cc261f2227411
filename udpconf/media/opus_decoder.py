"""From frames of Opus to sound, lost ones concealed.

Where ctypes can call libopus (media/libopus.py), a lost frame or two are made up of an earlier piece of the sound, which the
decoder gets as a packet (media/bridge.py), and what no piece fits into, the decoder makes up by itself. Elsewhere PyAV's codec
does, with our own concealment.
"""

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from udpconf.errors import ConfigError
from udpconf.frames import opus_duration_us
from udpconf.limits import OPUS_FRAME_MAX_BYTES
from udpconf.media import libopus
from udpconf.media.bridge import Bridge
from udpconf.media.comb_filter import comb_filter
from udpconf.media.concealment import Concealment
from udpconf.media.interpolation import BEFORE, as_pcm, lead_over
from udpconf.media.native import av
from udpconf.media.opus import FRAME_SAMPLES, LAYOUTS, SAMPLE_RATE, samples_of
from udpconf.media.tape import Tape
from udpconf.media.time_stretch import FADE, enter

Pcm = NDArray[np.int16]

# Past two frames what libopus makes up hums like a machine: by four frames later it is silence.
FADE_FROM, FADE_FRAMES = 2, 4
# The first byte of SILK's and hybrid packets is less (RFC 6716, section 3.1). Ours are CELT, which has no in-band FEC; others'
# may be these, which may have it.
FIRST_CELT_TOC = 16 << 3
REMEMBERED_SAMPLES = -(-BEFORE // FRAME_SAMPLES) * FRAME_SAMPLES
# By then made-up sound of the shortest frames, 5 ms, is silence: nothing has to be like it.
RECALLED_MAX = 2 * (FADE_FROM + FADE_FRAMES)


class _MadeUp(NamedTuple):
    """A frame that was made up."""

    before: libopus.Decoder  # as it was before that
    samples: int


class OpusDecoder:
    """One stream's decoder; feed it every frame in order, or ``conceal()`` in place of a lost one.

    Args:
        channels: 1 or 2.
        native: as for OpusEncoder.

    Attributes:
        bridges: lost frames that were made up of an earlier piece, or for which one was looked for: it takes a while.
        broken: frames that were no Opus of our lengths, concealed instead. They passed the AEAD, so the sender is at fault.
    """

    def __init__(self, channels: int = 1, *, native: bool = True) -> None:
        if channels not in LAYOUTS:
            raise ConfigError(f"Opus is used with 1 or 2 channels, not {channels}")
        self.channels = channels
        self.broken = self.bridges = 0
        self._concealed = 0.0  # frames of 10 ms since the last real one
        library = libopus.load() if native else None
        self._native = None if library is None else libopus.Decoder(library, SAMPLE_RATE, channels)
        if library is not None:
            self._heard = Tape(REMEMBERED_SAMPLES, channels)
            self._bridge: Bridge | None = None  # not made until something is lost
            self._library = library
            self._packet = b""  # the last one
            self._ahead: NDArray[np.float64] | None = None  # made up beyond the last frame
            # One for each frame that was made up since the last real one, the latest last.
            self._made_up: deque[_MadeUp] = deque(maxlen=RECALLED_MAX)
            # So was the last packet: only among those a packet made here does not change the mode.
            self._celt = True
        else:
            self._concealment = Concealment(SAMPLE_RATE, channels)
            self._context = av.AudioCodecContext.create("libopus", "r")
            self._context.sample_rate = SAMPLE_RATE
            self._context.layout = LAYOUTS[channels]

    def decode(self, data: bytes, inserted: int = 0) -> Pcm:
        """int16[n] (mono) or int16[n, 2]. Never raises, whatever the bytes.

        Args:
            data: a frame.
            inserted: so many of the frames that were made up just before replaced none, as this one was late, not lost. It is
                entered where it is like what is playing.

        Returns:
            As long as ``opus_duration_us`` says; where something was inserted, up to 5 ms more or less.
        """
        samples = samples_of(opus_duration_us(data))
        if inserted and self._native is not None and inserted <= len(self._made_up):
            entered = self._entered(self._native, data, samples, inserted)
            if entered is not None:
                return entered
        if self._native is None:
            decoded = self._by_pyav(data, samples)
            if decoded is not None:
                return self._concealment.received(decoded)
        elif (block := self._by_libopus(self._native, data, samples)) is not None:
            return block
        self.broken += 1
        return self.conceal(samples=samples)

    def conceal(
        self, following: bytes | None = None, samples: int = FRAME_SAMPLES, *, may_bridge: bool = True
    ) -> Pcm:
        """In place of a frame that did not come: what was heard last goes on, fading.

        Args:
            following: the frame after it, if it is there already: what is made up leads over to it. Decode it next.
            samples: how long it is.
            may_bridge: there are some 3 ms for it, at worst 10; otherwise libopus makes it up.
        """
        if self._native is None:
            return self._concealment.conceal(samples)
        self._made_up.append(_MadeUp(self._native.copy(), samples))
        if samples == FRAME_SAMPLES and following and following[0] < FIRST_CELT_TOC:
            recovered = self._native.recover(following, FRAME_SAMPLES)
            if recovered is not None:
                self._concealed = 1
                return self._remembered(self._led_over(self._shaped(recovered)))
        # The bridge is made for frames of 10 ms, as nearly all are; other lengths are left to libopus. One bridge leads on to the
        # next, as long as nothing fades.
        may_bridge = may_bridge and self._celt and self._concealed < FADE_FROM and samples == FRAME_SAMPLES
        self.bridges += may_bridge
        bridge = self._bridged(self._native, following) if may_bridge else None
        if bridge is not None:
            self._concealed += 1
            return self._remembered(bridge)
        return self._remembered(self._led_over(self._continued(self._native, samples)))

    def fade_out(self, samples: int) -> Pcm:
        """Up to 10 ms of what was heard last, fading to silence; then nothing has to be decoded until there is sound again.

        The decoder stays as it is: what it remembers is the noise of the room, which is what the encoder will remember of the
        pause as well. Made-up sound in its place would blur the first frame after it.
        """
        if self._native is None:
            made_up = self._concealment.conceal(FRAME_SAMPLES)
        else:
            lost = self._native.copy().conceal(FRAME_SAMPLES)
            assert lost is not None, "libopus conceals whatever came before"
            made_up = self._led_over(self._shaped(lost))
        return _faded(made_up[:samples], self._level(), 0.0)

    def _bridged(self, decoder: libopus.Decoder, following: bytes | None) -> Pcm | None:
        """Made up of an earlier piece of the sound; None: there is none that fits."""
        heard = self._heard.at_hand.astype(np.float64)
        if not heard.any():
            return None
        if self._bridge is None:
            self._bridge = Bridge(self._library, SAMPLE_RATE, self.channels, FRAME_SAMPLES)
        bridged = self._bridge.across(decoder, heard, comb_filter(self._packet), following)
        if bridged is None:
            return None
        self._native, self._ahead = bridged.decoder, bridged.ahead
        return self._shaped(bridged.played)

    def _led_over(self, block: Pcm) -> Pcm:
        """What comes after a made-up frame, begun by what was made up as well."""
        ahead, self._ahead = self._ahead, None
        return block if ahead is None else self._shaped(lead_over(ahead, block.reshape(len(block), -1)))

    def _remembered(self, block: Pcm) -> Pcm:
        self._heard.append(block.reshape(len(block), -1))
        return self._shaped(self._heard.take(len(block)))

    def _continued(self, decoder: libopus.Decoder, samples: int) -> Pcm:
        made_up = decoder.conceal(samples)
        assert made_up is not None, "libopus conceals whatever came before"
        before = self._level()
        self._concealed += samples / FRAME_SAMPLES
        after = self._level()
        return self._shaped(made_up) if after == 1 else _faded(self._shaped(made_up), before, after)

    def _level(self) -> float:
        """How loud made-up sound is after the frames concealed so far."""
        return max(0.0, min(1.0, 1 - (self._concealed - FADE_FROM) / FADE_FRAMES))

    def _shaped(self, block: Pcm) -> Pcm:
        return block[:, 0] if self.channels == 1 else block

    def _entered(self, playing: libopus.Decoder, data: bytes, samples: int, inserted: int) -> Pcm | None:
        """A frame that came late; None: it is no Opus. ``playing`` is used up."""
        recalled = list(self._made_up)[-inserted:]
        decoder = recalled[0].before  # as if those had not been made up
        block = decoder.decode(data, samples)
        if block is None:
            return None
        level = self._level()
        if level > 0:
            before = self._heard.at_hand[: -sum(made_up.samples for made_up in recalled)][-FADE:]
            block = enter(block, before, self._going_on(playing))
        if level < 1:
            block = _faded(block, level, 1.0)
        self._native, self._ahead = decoder, None
        self._understood(data)
        return self._remembered(block)

    def _going_on(self, playing: libopus.Decoder) -> Pcm:
        """[FADE, channels]: how what was made up would go on."""
        if self._ahead is not None and len(self._ahead) >= FADE:
            return as_pcm(self._ahead[:FADE])
        made_up = playing.conceal(FADE)
        assert made_up is not None, "libopus conceals whatever came before"
        return made_up

    def _understood(self, data: bytes) -> None:
        self._celt, self._packet = data[0] >= FIRST_CELT_TOC, data
        if self._concealed:
            self._concealed = 0
            self._made_up.clear()

    def _by_libopus(self, native: libopus.Decoder, data: bytes, samples: int) -> Pcm | None:
        if self._bridge is not None and self._ahead is not None:
            self._native = native = self._bridge.reconsidered(native, data)
        heard = self._heard
        if not native.decode_to(heard.address_for(samples), data, samples):
            return None
        heard.wrote(samples)
        block = heard.take(samples)
        if self._concealed:
            risen = block if self._concealed <= FADE_FROM else _faded(block, self._level(), 1.0)
            block[:] = self._led_over(risen).reshape(samples, -1)  # nobody has it yet
        self._understood(data)
        return self._shaped(block)

    def _by_pyav(self, data: bytes, samples: int) -> Pcm | None:
        # An empty packet is FFmpeg's word for the end of the stream: the decoder would take nothing after it.
        if not 0 < len(data) <= OPUS_FRAME_MAX_BYTES:
            return None
        try:
            frames = self._context.decode(av.Packet(data))
        except av.FFmpegError:
            return None
        # The first byte says how long a frame is, up to 120 ms; only ours is welcome.
        if len(frames) != 1 or frames[0].samples != samples:
            return None
        plane = frames[0].planes[0]
        if plane.buffer_size < samples * self.channels * 2:
            return None
        # Four times as fast as to_ndarray(), which checks all that has been checked here.
        block: Pcm = np.frombuffer(bytes(plane), np.int16, samples * self.channels)
        return block if self.channels == 1 else block.reshape(-1, self.channels)


def _faded(block: Pcm, before: float, after: float) -> Pcm:
    """The block, from one loudness evenly to another."""
    gain = np.linspace(before, after, len(block), dtype=np.float32)
    faded: Pcm = np.rint(block * (gain if block.ndim == 1 else gain[:, np.newaxis])).astype(np.int16)
    return faded
