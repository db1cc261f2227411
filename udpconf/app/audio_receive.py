"""The sound of all clients: from datagrams to the loudspeaker, to whoever iterates, and to the recorder.

datagrams ─► handle() ─[bounded]─► a jitter buffer for each client ─► Opus ─► mixer ─► speaker's ring
                                                   └─► recorder (not decoded)       └─► subscribers [bounded]

One thread wakes at most 200 times a second for all clients together, and not at all while nobody sends sound or
nobody listens. The loudspeaker sets the pace, whose clock is the one that counts; without one, or when it hangs, the
computer's clock does.
"""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from udpconf.app.client_sound import PLAY_SAMPLES, ClientSound
from udpconf.app.sound_block import SoundBlock, hand_out
from udpconf.app.turn_size import TurnSize
from udpconf.frames import OpusFrame
from udpconf.limits import MS, SECOND
from udpconf.media.mixer import Mixer, Mute, peaks_of
from udpconf.net.clock import monotonic_us
from udpconf.net.mailbox import BoundedQueue
from udpconf.net.own_errors import OwnErrors
from udpconf.proto.audio_jitter import FRAME_US, AudioCounts
from udpconf.proto.audio_target import PLAY_US
from udpconf.proto.events import AudioReceived

log = logging.getLogger("udpconf.app")

Pcm = NDArray[np.int16]
OnOpus = Callable[[str, OpusFrame], None]

# What the ring is filled up to: the device takes 5 ms at a time, and our thread may be 10 ms late. Each time the ring
# runs dry all the same it gets a frame more, and after a while of calm one less. Chosen, not measured.
RING_MIN_US = 15 * MS
RING_MAX_US = 60 * MS
RING_CALM_US = 30 * SECOND
# A device that has taken nothing for so long does not set the pace. One that has stopped for good is given up later.
STALL_US = 50 * MS
# Further behind than this (suspend, a stopped process) there is nothing to catch up with.
BEHIND_MAX_US = 100 * MS
# After so long without sound the thread sleeps until the next packet.
REST_US = 1 * SECOND
# Datagrams between whoever drives the core and our turn, normally one or two: 16 for each of 256 clients. The oldest goes.
INBOX_MAX = 4096
# 1 s of sound for whoever iterates; the oldest goes.
SUBSCRIPTION_BLOCKS = SECOND // PLAY_US
# The delay that lip sync goes by is averaged over this many looks: the ring goes up and down.
RING_SMOOTHING = 1 / 16
# While a loudspeaker plays, the core may keep us waiting so long: half of what is left in the ring.
FETCH_WAIT_US = 5 * MS
# Who leaves at the same moment; whoever is one too many stops with a click.
LEAVING_MAX = 64
STOP_S = 1.0
# An error of ours may come again at once; it must not become a busy loop.
STUMBLE_S = 0.01
# Of so many clients a lost frame is made up well at a time, the others' by libopus: where all lose the same moment, each would take 3 to
# 10 ms (2-core x86-64), and the loudspeaker wait for all of them.
BRIDGES_MAX = 2


class Loudspeaker(Protocol):
    """What is needed of media.speaker.Speaker."""

    on_taken: Callable[[], None] | None

    @property
    def alive(self) -> bool: ...
    @property
    def queued_us(self) -> int: ...
    @property
    def latency_us(self) -> int: ...
    @property
    def underruns(self) -> int: ...
    def write(self, block: Pcm) -> None: ...


class AudioReceiver:
    """Plays, hands out and passes on the sound of all clients.

    Args:
        clock: microseconds, as the events have them.
        fetch: has ``handle`` called with what has come, if that is possible within so many microseconds: before each turn, or
            once in 50 ms where a loudspeaker hangs.
        rest: nothing will be fetched until ``handle`` is called again.

    Attributes:
        muted: the loudspeaker is silent; subscribers and the recorder still get everything. Set it from any thread.
        overflowed: datagrams that were dropped because our thread did not keep up.
        counters: errors of our own by place.
    """

    def __init__(
        self,
        clock: Callable[[], int] = monotonic_us,
        fetch: Callable[[int], None] = lambda patience_us: None,
        rest: Callable[[], None] = lambda: None,
    ) -> None:
        self.muted, self.overflowed = False, 0
        self.counters: Counter[str] = Counter()
        self._errors = OwnErrors(log, self.counters)
        self._clock, self._fetch, self._rest = clock, fetch, rest
        # For the three below; each is replaced as a whole and read without the lock.
        self._changing = threading.RLock()  # a Feed may be collected, and unsubscribe, while one subscribes
        self._clients: dict[str, ClientSound] = {}
        self._subscribers: tuple[tuple[BoundedQueue[SoundBlock], str | None], ...] = ()
        self._on_opus: OnOpus | None = None
        self._speaker: Loudspeaker | None = None
        self._closed = False
        self._wanted = False  # somebody listens: a speaker, a subscriber or a recorder
        self._inbox: deque[tuple[ClientSound, AudioReceived]] = deque(maxlen=INBOX_MAX)
        self._work = threading.Event()  # there is something in the inbox
        self._wake = threading.Event()  # the speaker has too little left, or the end
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="udpconf sound", daemon=True)
        # --- the sound thread's own
        self._leaving: deque[ClientSound] = deque(maxlen=LEAVING_MAX)
        self._mixer = Mixer()
        self._mute = Mute()
        self._turn_size = TurnSize()
        self._taken_us = 0  # when the speaker last took something; written by PortAudio's thread
        self._due_us = 0  # when the clock asks for the next block
        self._ring_target_us = RING_MIN_US
        self._underruns = 0  # of the speaker, when the target was last looked at
        self._calm_us = 0  # since when there was none
        self._sounded_us = 0  # when there was last something to play
        self._ring_delay_us: float | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and all subscriptions; at most a second. The speaker is its opener's to close."""
        with self._changing:
            self._closed = True
            for queue, _ in self._subscribers:
                queue.close()
        self._stopping = True
        self._work.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_S)

    # --- who sends ---------------------------------------------------------------------------------------------------

    def add_client(self, client_id: str, latency_us: int = 0) -> None:
        """Its sound starts, with a sequence of its own: to be called again when it has joined again.

        ``latency_us``: it is heard so long after its capture, as its pictures are shown (within the buffer's 400 ms).
        """
        with self._changing:
            self._clients = {**self._clients, client_id: ClientSound(latency_us)}

    def set_latency(self, client_id: str, latency_us: int) -> None:
        """Like ``add_client``'s, from now on."""
        client = self._clients.get(client_id)
        if client is not None:
            client.latency_us = latency_us

    def set_volume(self, client_id: str, volume: float) -> bool:
        """How loud a client goes into the mix; False: it is not here."""
        client = self._clients.get(client_id)
        if client is not None:
            client.volume = volume
        return client is not None

    def remove_client(self, client_id: str) -> None:
        """Its sound ends, in the mix without a click."""
        with self._changing:
            if (client := self._clients.get(client_id)) is not None:
                self._leaving.append(client)
            self._clients = {key: client for key, client in self._clients.items() if key != client_id}

    def handle(self, event: AudioReceived) -> None:
        """Take a frame, from whoever drives the core: never blocks."""
        client = self._clients.get(event.client_id)
        if client is None or not self._wanted:
            return
        if len(self._inbox) == INBOX_MAX:
            self.overflowed += 1
        self._inbox.append((client, event))
        if not self._work.is_set():
            self._work.set()

    # --- who listens -------------------------------------------------------------------------------------------------

    def set_speaker(self, speaker: Loudspeaker | None) -> None:
        """Play through this one from now on; None: through none."""
        with self._changing:
            if self._speaker is not None:
                self._speaker.on_taken = None
            self._speaker = speaker
            if speaker is not None:
                speaker.on_taken = self._speaker_took
            self._count_listeners()

    def set_on_opus(self, on_opus: OnOpus | None) -> None:
        """Call this from the sound thread with each frame that arrived in time, in capture order; it must not raise.

        Frames that playing leaves out to shorten its delay are among them; lost ones are a gap in the capture times.
        """
        with self._changing:
            self._on_opus = on_opus
            self._count_listeners()

    def subscribe(self, client_id: str | None = None) -> BoundedQueue[SoundBlock]:
        """Blocks from now on, mixed (None) or of one client, while there is sound; ``get(timeout)`` waits for the next.

        At most a second of them waits: then the oldest goes, counted in the queue's ``dropped``.
        """
        queue: BoundedQueue[SoundBlock] = BoundedQueue(SUBSCRIPTION_BLOCKS)
        with self._changing:
            if self._closed:
                queue.close()
            self._subscribers = (*self._subscribers, (queue, client_id))
            self._count_listeners()
        return queue

    def unsubscribe(self, queue: BoundedQueue[SoundBlock]) -> None:
        """End a subscription; may be repeated."""
        queue.close()
        with self._changing:
            self._subscribers = tuple(entry for entry in self._subscribers if entry[0] is not queue)
            self._count_listeners()

    # --- what to know ------------------------------------------------------------------------------------------------

    def audio_delay_us(self, client_id: str) -> int | None:
        """From capture to the loudspeaker's air, microseconds; None while nothing of this client plays.

        Pictures that are shown with this delay are in step with the sound. Without a loudspeaker it is the time until
        subscribers get the sound.
        """
        client = self._clients.get(client_id)
        delay_us = client.buffer.delay_us if client is not None else None
        if delay_us is None:
            return None
        speaker, ring_delay_us = self._speaker, self._ring_delay_us
        return delay_us + (round(ring_delay_us) if speaker is not None and ring_delay_us is not None else 0)

    def counts(self, client_id: str) -> AudioCounts | None:
        """What became of a client's frames since it joined; None for a stranger."""
        client = self._clients.get(client_id)
        return client.buffer.counts if client is not None else None

    def level(self, client_id: str) -> float:
        """How loud a client is at present, 0..1 of full scale, whatever its volume; 0 for a stranger."""
        client = self._clients.get(client_id)
        return 0.0 if client is None else client.level

    # --- the sound thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping:
            self._work.clear()
            # Looked at after the flag fell, or a stop could be slept through.
            if not self._inbox and not self._stopping:
                self._work.wait()
            self.begin(self._clock())
            while not self._stopping:
                self._fetch(self._patience_us)
                try:
                    if not self.turn(self._clock()):
                        break
                except Exception as error:  # noqa: BLE001 - or nobody would be heard any more
                    self._errors.survive(error, "A turn of sound")
                    time.sleep(STUMBLE_S)
                # A speaker that has too little left wakes us; if it takes nothing, the clock does.
                wait_us = max(self._due_us, self._taken_us + STALL_US if self._speaker else 0) - self._clock()
                self._wake.wait(max(0, wait_us) / SECOND)
                self._wake.clear()
            self._rest()

    def begin(self, now_us: int) -> None:
        """After a rest: the ring gets its fill of silence, so that sound does not have to be fetched early for it."""
        self._sounded_us = self._due_us = self._taken_us = now_us
        speaker = self._speaker
        if speaker is not None:
            self._underruns, self._calm_us = speaker.underruns, now_us
            silence = np.zeros((PLAY_SAMPLES, 1), np.int16)
            # Counted, as a speaker whose device has gone keeps nothing.
            for _ in range(speaker.queued_us, self._ring_target_us, PLAY_US):
                speaker.write(silence)

    @property
    def _patience_us(self) -> int:
        """What was not fetched is missed by all that is made now: some 10 ms of sound are left in a ring, and without one nobody waits."""
        half_us = self._turn_size.blocks * PLAY_US // 2
        return half_us if self._speaker is None else min(half_us, FETCH_WAIT_US)

    def turn(self, now_us: int) -> bool:
        """Do what is to be done now. False when there has been nothing to play for a while."""
        while self._inbox:
            client, (_, number, capture_us, data, arrival_us, copy) = self._inbox.popleft()
            if client.latency_us or client.buffer.least_us:
                ring_us = round(self._ring_delay_us or 0)
                client.buffer.least_us = client.latency_us - ring_us if client.latency_us else 0
            client.buffer.push(number, capture_us, data, arrival_us, copy=copy)
            if not client.has_sent:
                client.has_sent = True
                self._turn_size.count()
            self._sounded_us = now_us
        speaker = self._speaker
        blocks = self._turn_size.follow(now_us, self._clients, loudspeaker=speaker is not None)
        if speaker is not None and speaker.alive and now_us - self._taken_us < STALL_US:
            self._adapt_ring(now_us, speaker)
            self._look_at_ring(speaker)
            for taken in range(0, RING_MAX_US // PLAY_US, blocks):
                if speaker.queued_us >= self._ring_target_us:
                    break
                self._play(now_us, taken * PLAY_US, speaker, blocks)
                self._due_us = now_us + PLAY_US
        else:
            self._ring_delay_us = None
            if now_us - self._due_us > BEHIND_MAX_US:
                self._due_us = now_us
            while now_us >= self._due_us:
                self._play(self._due_us, 0, None, blocks)
                self._due_us += blocks * PLAY_US
        return now_us - self._sounded_us < REST_US

    def _adapt_ring(self, now_us: int, speaker: Loudspeaker) -> None:
        if speaker.underruns != self._underruns:
            self._ring_target_us = min(self._ring_target_us + FRAME_US, RING_MAX_US)
        elif now_us - self._calm_us > RING_CALM_US:
            self._ring_target_us = max(self._ring_target_us - FRAME_US, RING_MIN_US)
        else:
            return
        self._underruns, self._calm_us = speaker.underruns, now_us

    def _play(self, now_us: int, ahead_us: int, speaker: Loudspeaker | None, blocks: int) -> None:
        """The next so many times 5 ms of everybody, heard after ``ahead_us`` that were taken at the same time."""
        subscribers, on_opus = self._subscribers, self._on_opus
        everybody = speaker is not None or any(wanted is None for _, wanted in subscribers)
        singly = any(wanted is not None for _, wanted in subscribers)
        played: list[tuple[ClientSound, Pcm]] = []
        bridges = BRIDGES_MAX
        for client_id, client in self._clients.items():
            audible = everybody or any(wanted == client_id for _, wanted in subscribers)
            try:
                pcm = client.play(now_us, ahead_us, blocks, audible=audible, may_bridge=bridges > 0)
            except Exception as error:  # noqa: BLE001 - the others are heard all the same
                self._errors.survive(error, "A client's sound")
                pcm = None
            bridges -= client.bridges
            if on_opus is not None:
                for arrived in client.arrived:
                    on_opus(client_id, arrived)
            if pcm is None:
                continue
            played.append((client, pcm))
            if singly:
                for queue, wanted in subscribers:
                    if wanted == client_id:
                        hand_out(queue, SoundBlock(pcm, client_id, client.capture_us))
        to_mix: list[Pcm | NDArray[np.float32]] = []
        if played:
            self._sounded_us = now_us
            for (client, pcm), peak in zip(played, peaks_of([pcm for _, pcm in played]), strict=True):
                client.measure(peak)
                if everybody:
                    to_mix.append(client.at_volume(pcm))
        while self._leaving:
            client = self._leaving.popleft()
            if everybody and (pcm := client.farewell(blocks)) is not None:
                to_mix.append(client.at_volume(pcm))
        mixed = self._mixer.mix(to_mix) if to_mix else None
        if mixed is not None:
            for queue, wanted in subscribers:
                if wanted is None:
                    hand_out(queue, SoundBlock(mixed, None, None))
        if speaker is not None:
            # The ring is kept full with silence as well: what comes after it then needs no new cushion.
            mixed = np.zeros((blocks * PLAY_SAMPLES, 1), np.int16) if mixed is None else mixed
            speaker.write(self._mute.apply(mixed, muted=self.muted))

    def _look_at_ring(self, speaker: Loudspeaker) -> None:
        """How long it takes from now to the air."""
        delay_us = speaker.latency_us
        if self._ring_delay_us is None:
            self._ring_delay_us = float(delay_us)
        self._ring_delay_us += (delay_us - self._ring_delay_us) * RING_SMOOTHING

    def _speaker_took(self) -> None:
        """In PortAudio's thread."""
        self._taken_us = self._clock()
        speaker = self._speaker
        if speaker is None or speaker.queued_us < self._ring_target_us:
            self._wake.set()

    def _count_listeners(self) -> None:
        self._wanted = bool(self._subscribers) or self._on_opus is not None or self._speaker is not None
