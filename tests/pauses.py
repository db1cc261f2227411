"""A microphone with pauses, and whoever listens, in virtual time: the real codec and everything but sessions and sockets."""

import heapq
import random
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from udpconf.app.audio_receive import AudioReceiver
from udpconf.frames import OPUS_FRAME_US, OpusFrame, is_silence_mark
from udpconf.limits import MS, SECOND
from udpconf.media.opus import ENCODER_DELAY_US, SAMPLE_RATE, OpusEncoder, OpusFramer
from udpconf.media.opus_decoder import OpusDecoder
from udpconf.media.silence import SilenceGate
from udpconf.proto.audio_jitter import AudioCounts
from udpconf.proto.audio_packets import AudioDepacketizer
from udpconf.proto.audio_target import PLAY_US
from udpconf.proto.events import AudioReceived
from udpconf.proto.sound_sender import SoundSender
from udpconf.wire.envelope import OVERHEAD_BYTES
from udpconf.wire.frames import AudioPacket, Feedback, decode_frames_untrusted

Pcm = NDArray[np.int16]

FEEDBACK_US = 200 * MS
CLIENT = "talker"
BEGINNING_S, AWRY_S = 0.05, 0.002


def talk(parts: list[tuple[float, float]], noise_db: float = -65.0, seed: int = 1) -> tuple[Pcm, list[float]]:
    """A voice that speaks for so many seconds and is silent for so many, again and again, in a room with some noise.

    Returns:
        The sound, and the seconds at which a word begins: suddenly, as a vowel after a stop does.
    """
    dice = np.random.default_rng(seed)
    pieces: list[NDArray[np.float64]] = []
    begins: list[float] = []
    at_s = 0.0
    for spoken_s, silent_s in parts:
        begins.append(at_s)
        times = np.arange(round(spoken_s * SAMPLE_RATE)) / SAMPLE_RATE
        hertz = 110 + 15 * np.sin(2 * np.pi * 0.7 * times + at_s)
        phase = 2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE
        buzz = sum(np.sin(k * phase) / k for k in range(1, 25)) * 3000
        # Syllables that never get silent: each rises in 10 ms.
        loudness = np.minimum(1, times / 0.01) * (0.6 + 0.4 * np.cos(2 * np.pi * 4 * times))
        pieces += [buzz * loudness, np.zeros(round(silent_s * SAMPLE_RATE))]
        at_s += spoken_s + silent_s
    sound = np.concatenate(pieces)
    sound += dice.normal(0, 10 ** (noise_db / 20) * 32_768, len(sound))
    return np.rint(sound).astype(np.int16), begins


class Heard(NamedTuple):
    """What came of it. Times are microseconds of the story, as capture times are.

    Attributes:
        blocks: when each 5 ms were taken, their capture time, and the sound.
        counts: the jitter buffer's.
        recorded: what a recorder would have got.
        datagrams: when each was sent, its bytes of UDP payload, and whether its newest frame is a mark.
        begins_s: when the first frame after each pause was captured, seconds.
    """

    blocks: list[tuple[int, int, Pcm]]
    counts: AudioCounts
    recorded: list[OpusFrame]
    datagrams: list[tuple[int, int, bool]]
    begins_s: list[float]

    def kbps(self, from_s: float, to_s: float) -> float:
        """UDP payload between two instants."""
        sent = sum(size for at_us, size, _ in self.datagrams if from_s <= at_us / SECOND < to_s)
        return sent * 8 / 1000 / (to_s - from_s)

    def sound(self, from_s: float, seconds: float) -> NDArray[np.float64]:
        """What was heard of the sound that was captured then; silence where nothing was."""
        out = np.zeros(round(seconds * SAMPLE_RATE))
        for _, capture_us, pcm in self.blocks:
            at = round((capture_us / SECOND - from_s) * SAMPLE_RATE)
            low, high = max(at, 0), min(at + len(pcm), len(out))
            if low < high:
                out[low:high] = pcm[low - at : high - at, 0]
        return out

    def beginning(self, ideal: NDArray[np.float64], at_s: float, seconds: float = BEGINNING_S) -> float:
        """How like the same sound without a network the first 50 ms of a word were, in other places than before by 2 ms at most."""
        wanted = ideal[round(at_s * SAMPLE_RATE) :][: round(seconds * SAMPLE_RATE)]
        heard = self.sound(at_s - AWRY_S, seconds + 2 * AWRY_S)
        return likeness(heard, wanted, round(2 * AWRY_S * SAMPLE_RATE))

    def delay_ms(self, from_s: float, to_s: float) -> float:
        """From capture until it was taken, on average."""
        delays = [at - capture for at, capture, _ in self.blocks if from_s <= capture / SECOND < to_s]
        return float(np.mean(delays)) / MS


def listen(
    pcm: Pcm,
    *,
    dtx: bool = True,
    delay_us: int = 20 * MS,
    jitter_us: int = 0,
    loss: float = 0.0,
    is_lost: Callable[[AudioPacket], bool] | None = None,
    frame_us: int = OPUS_FRAME_US,
    seed: int = 1,
) -> Heard:
    """Send it frame by frame over a path that loses packets by chance, or those of which ``is_lost`` says so."""
    dice = random.Random(seed)
    framer = OpusFramer(OpusEncoder(frame_us=frame_us), gate=SilenceGate(frame_us) if dtx else None)
    sender, depacketizer = SoundSender(frame_us=frame_us), AudioDepacketizer()
    recorded: list[OpusFrame] = []
    receiver = AudioReceiver(clock=lambda: 0)
    receiver.add_client(CLIENT)
    receiver.set_on_opus(lambda _, frame: recorded.append(frame))
    queue = receiver.subscribe(CLIENT)
    blocks: list[tuple[int, int, Pcm]] = []
    datagrams: list[tuple[int, int, bool]] = []
    begins_s: list[float] = []
    arrivals: list[tuple[int, bytes, int]] = []
    counts = AudioCounts()
    samples = SAMPLE_RATE * PLAY_US // SECOND
    receiver.begin(0)
    for number in range(len(pcm) // samples + 40):
        now_us = number * PLAY_US
        if number and number * samples <= len(pcm):
            piece = pcm[(number - 1) * samples : number * samples]
            framer.encoder.set_bitrate(sender.bitrate_bps(open_ceiling_bps=0))
            for data, capture_us in framer.push(piece, now_us - PLAY_US):
                plaintext = sender.packetize(data, capture_us)
                if datagrams and datagrams[-1][2] and not is_silence_mark(data):
                    begins_s.append(capture_us / SECOND)
                datagrams.append((now_us, len(plaintext) + OVERHEAD_BYTES, is_silence_mark(data)))
                (packet,) = decode_frames_untrusted(plaintext)
                assert isinstance(packet, AudioPacket)
                lost = is_lost(packet) if is_lost else dice.random() < loss
                if not lost:
                    arrival_us = now_us + delay_us + dice.randint(0, jitter_us)
                    heapq.heappush(arrivals, (arrival_us, plaintext, capture_us))
        while arrivals and arrivals[0][0] <= now_us:
            arrival_us, plaintext, capture_us = heapq.heappop(arrivals)
            (packet,) = decode_frames_untrusted(plaintext)
            assert isinstance(packet, AudioPacket)
            for new in depacketizer.handle_packet(packet, capture_us):
                receiver.handle(
                    AudioReceived(
                        CLIENT, new.sequence_number, new.capture_us, new.data, arrival_us, copy=new.copy
                    )
                )
        if now_us % FEEDBACK_US == 0:
            losses = depacketizer.losses
            sender.handle_feedback(
                Feedback(0, 0, 0, 0, 0, 0, 0, 0, 0, losses.received, losses.lost, losses.runs)
            )
        receiver.turn(now_us)
        while (block := queue.get(0)) is not None:
            assert block.capture_us is not None
            blocks.append((now_us, block.capture_us, block.pcm))
        counts = receiver.counts(CLIENT) or counts
    return Heard(blocks, counts, recorded, datagrams, begins_s)


def without_a_network(pcm: Pcm) -> NDArray[np.float64]:
    """The same sound through Opus alone, sample for sample."""
    encoder, decoder = OpusEncoder(), OpusDecoder()
    frames = [pcm[at : at + 480] for at in range(0, len(pcm) - 479, 480)]
    decoded = np.concatenate([decoder.decode(encoder.encode(frame)) for frame in frames])
    return decoded[ENCODER_DELAY_US * SAMPLE_RATE // SECOND :].astype(np.float64)


def likeness(heard: NDArray[np.float64], ideal: NDArray[np.float64], slack: int) -> float:
    """Correlation, 1 for the same, with ``ideal`` somewhere in ``heard``, which is longer by ``slack`` samples.

    Sound that has been made longer or shorter, or was resampled, is not at its place to the sample.
    """
    best = 0.0
    for at in range(slack + 1):
        piece = heard[at : at + len(ideal)]
        energy = float(np.sqrt((piece @ piece) * (ideal @ ideal)))
        best = max(best, float(piece @ ideal) / energy if energy else 0.0)
    return best
