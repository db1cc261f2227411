"""From datagrams to the loudspeaker in virtual time, with a loudspeaker that takes 10 ms whenever it is told to."""

import itertools
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from udpconf.app.audio_receive import (
    INBOX_MAX,
    REST_US,
    RING_CALM_US,
    RING_MAX_US,
    RING_MIN_US,
    SUBSCRIPTION_BLOCKS,
    AudioReceiver,
)
from udpconf.app.client_sound import PLAY_SAMPLES, ClientSound
from udpconf.app.sound_block import SoundBlock
from udpconf.frames import OpusFrame
from udpconf.limits import MS, SECOND
from udpconf.media.opus import FRAME_SAMPLES, FRAME_US, OpusEncoder, OpusFramer
from udpconf.net.mailbox import BoundedQueue
from udpconf.proto.audio_target import PLAY_US
from udpconf.proto.events import AudioReceived

Pcm = NDArray[np.int16]
RATE = 48_000
PATH_US = 14 * MS  # a frame's own length, the encoder's look-ahead, and a millisecond of network


class FakeSpeaker:
    def __init__(self) -> None:
        self.on_taken: Callable[[], None] | None = None
        self.alive = True
        self.ring: Pcm = np.zeros((0, 1), np.int16)
        self.played: list[Pcm] = []
        self.underruns = 0

    @property
    def queued_us(self) -> int:
        return len(self.ring) * SECOND // RATE

    @property
    def latency_us(self) -> int:
        return self.queued_us + 30 * MS

    def write(self, block: Pcm) -> None:
        # As the real one: what is left of the ring when the device has gone is not for when it comes back.
        self.ring = np.concatenate((self.ring if self.alive else self.ring[:0], block))

    def take(self) -> None:
        if len(self.ring) >= FRAME_SAMPLES:
            self.played.append(self.ring[:FRAME_SAMPLES])
            self.ring = self.ring[FRAME_SAMPLES:]
        else:
            self.underruns += 1
        assert self.on_taken is not None
        self.on_taken()


class Room:
    """Senders with a tone each, and the receiver, a turn each 10 ms."""

    def __init__(self, *hertz: float, amplitude: float = 8000.0) -> None:
        self.receiver = AudioReceiver(clock=lambda: self.now_us)
        self.now_us = 5_000
        self.ppm = 0  # by which the senders' clocks are slow
        self.frames: dict[str, list[tuple[bytes, int]]] = {}
        for pitch in hertz:
            times = np.arange(6 * RATE) / RATE
            wave = (amplitude * np.sin(2 * np.pi * pitch * times)).astype(np.int16)
            self.frames[f"client-{pitch:.0f}"] = OpusFramer().push(wave, 0)
        for client_id in self.frames:
            self.receiver.add_client(client_id)

    def run(
        self, until_us: int, speaker: FakeSpeaker | None = None, lost: frozenset[int] = frozenset()
    ) -> None:
        if self.now_us < FRAME_US:
            self.receiver.begin(self.now_us)
        while self.now_us < until_us:
            self.now_us += FRAME_US
            sent = self.number(self.now_us - PATH_US - FRAME_US)
            for number in range(max(0, sent + 1), self.number(self.now_us - PATH_US) + 1):
                if number not in lost:
                    self.send(number)
            if speaker is not None:
                speaker.take()
            self.receiver.turn(self.now_us)

    @property
    def first_us(self) -> int:
        return next((frames[0][1] for frames in self.frames.values()), 0)

    @property
    def frame_us(self) -> float:
        return FRAME_US * (1 + self.ppm / 1e6)

    def number(self, us: int) -> int:
        """Of the frame that had been captured by then, and encoded."""
        return int((us - self.first_us) // self.frame_us)

    def send(self, number: int) -> None:
        for client_id, frames in self.frames.items():
            data, first_us = frames[number % len(frames)]
            capture_us = frames[0][1] + round(number * self.frame_us)
            assert self.ppm or number >= len(frames) or capture_us == first_us
            self.receiver.handle(
                AudioReceived(client_id, number, capture_us, data, capture_us + PATH_US, copy=False)
            )


def loudest(pcm: Pcm) -> float:
    samples = pcm.reshape(-1)
    return float(np.argmax(np.abs(np.fft.rfft(samples * np.hanning(len(samples))))) * RATE / len(samples))


def taken(queue: BoundedQueue[SoundBlock]) -> list[SoundBlock]:
    blocks = []
    while (block := queue.get(0)) is not None:
        blocks.append(block)
    return blocks


def test_a_tone_comes_out_of_the_loudspeaker() -> None:
    room, speaker = Room(440), FakeSpeaker()
    room.receiver.set_speaker(speaker)
    room.run(3 * SECOND, speaker)
    heard = np.concatenate(speaker.played[-100:])
    assert abs(loudest(heard) - 440) < 2
    assert abs(float(np.abs(heard).max()) - 8000) < 800
    assert np.abs(np.diff(heard[:, 0].astype(int), 2)).max() < 100, "no click"
    assert speaker.queued_us == RING_MIN_US
    assert speaker.underruns == 0


def test_a_loudspeaker_that_takes_in_gulps_gets_a_larger_ring_until_it_calms_down() -> None:
    room, speaker = Room(440), FakeSpeaker()
    room.receiver.set_speaker(speaker)
    for second in range(1, 4):
        room.run(second * SECOND, speaker)
        for _ in range(3):  # 30 ms at once
            speaker.take()
    room.run(3 * SECOND + 20 * MS, speaker)
    grown_us = speaker.queued_us
    assert RING_MIN_US < grown_us <= RING_MAX_US
    underruns = speaker.underruns
    room.frames.clear()
    room.run(room.now_us + 5 * RING_CALM_US, speaker)
    assert speaker.queued_us == RING_MIN_US
    assert speaker.underruns == underruns


def test_all_clients_are_mixed_and_each_can_be_had_alone() -> None:
    room = Room(440, 1000)
    mixed, alone = room.receiver.subscribe(), room.receiver.subscribe("client-1000")
    room.run(2 * SECOND)
    both = np.concatenate([block.pcm for block in taken(mixed)[-100:]])
    one = taken(alone)
    spectrum = np.abs(np.fft.rfft(both[:, 0] * np.hanning(len(both))))
    peaks = {int(peak * RATE / len(both)) for peak in np.argsort(spectrum)[-2:]}
    assert peaks == {440, 1000}
    assert abs(loudest(np.concatenate([block.pcm for block in one[-100:]])) - 1000) < 2
    assert all(block.client_id == "client-1000" for block in one)
    assert all(block.pcm.shape == (PLAY_SAMPLES, 1) for block in one)
    captured = [block.capture_us for block in one if block.capture_us is not None]
    assert {later - earlier for earlier, later in zip(captured[-50:], captured[-49:], strict=False)} == {
        PLAY_US
    }


@pytest.mark.parametrize(("clients", "at_a_time"), [(4, 2), (5, 2), (8, 2), (9, 8)])
def test_sound_of_many_is_made_more_at_a_time_and_still_comes_in_blocks_of_5_ms(
    clients: int, at_a_time: int
) -> None:
    """A turn of this room is 10 ms, two blocks."""
    room = Room(*range(440, 440 + 100 * clients, 100))
    queue = room.receiver.subscribe("client-440")
    room.run(4 * SECOND)
    taken(queue)
    turns = []
    for _ in range(100):
        room.run(room.now_us + FRAME_US)
        turns.append(taken(queue))
    assert {len(blocks) for blocks in turns} - {0} == {at_a_time}
    blocks = [block for turn in turns for block in turn]
    assert {block.pcm.shape for block in blocks} == {(PLAY_SAMPLES, 1)}
    captured = [block.capture_us for block in blocks if block.capture_us is not None]
    assert {later - earlier for earlier, later in itertools.pairwise(captured)} == {PLAY_US}
    assert len(blocks) == 200
    assert abs(loudest(np.concatenate([block.pcm for block in blocks])) - 440) < 2
    counts = room.receiver.counts("client-440")
    assert counts is not None
    assert counts.lost + counts.stretched == 0


def test_who_sends_no_sound_does_not_make_the_others_later() -> None:
    """Nine cameras and a microphone."""
    room = Room(440)
    for camera in range(9):
        room.receiver.add_client(f"camera {camera}")
    queue = room.receiver.subscribe()
    room.run(5 * SECOND)
    taken(queue)
    for _ in range(10):
        room.run(room.now_us + FRAME_US)
        assert len(taken(queue)) == FRAME_US // PLAY_US


def test_when_a_few_become_many_nobody_misses_anything() -> None:
    room = Room(*range(440, 1340, 100))
    names = list(room.frames)
    for name in names[4:]:
        room.receiver.remove_client(name)
    queue = room.receiver.subscribe(names[0])
    room.run(2 * SECOND)
    for name in names[4:]:
        room.receiver.add_client(name)
    room.run(6 * SECOND)
    taken(queue)
    turns = []
    for _ in range(12):
        room.run(room.now_us + FRAME_US)
        turns.append(len(taken(queue)))
    assert sorted(turns) == [0] * 9 + [8] * 3
    for name in names:
        counts = room.receiver.counts(name)
        assert counts is not None
        assert counts.lost + counts.stretched == 0


def test_through_a_loudspeaker_many_are_heard_without_a_gap() -> None:
    room, speaker = Room(*range(440, 1440, 100), amplitude=2000.0), FakeSpeaker()
    room.receiver.set_speaker(speaker)
    room.run(5 * SECOND, speaker)
    assert speaker.underruns == 0
    assert RING_MIN_US <= speaker.queued_us <= RING_MIN_US + 4 * PLAY_US
    spectrum = np.abs(np.fft.rfft(np.concatenate(speaker.played[-100:])[:, 0] * np.hanning(RATE)))
    assert sorted(np.argsort(spectrum)[-10:]) == list(range(440, 1440, 100))


def test_the_thread_is_woken_only_when_the_loudspeaker_needs_more(monkeypatch: pytest.MonkeyPatch) -> None:
    room, speaker = Room(*range(440, 1440, 100), amplitude=2000.0), FakeSpeaker()
    room.receiver.set_speaker(speaker)
    room.run(5 * SECOND, speaker)
    woken = []
    monkeypatch.setattr(room.receiver, "_wake", SimpleNamespace(set=lambda: woken.append(room.now_us)))
    room.run(6 * SECOND, speaker)
    assert len(woken) == pytest.approx(50, abs=2)  # 20 ms are made at a time, and 10 ms taken
    assert speaker.underruns == 0


@pytest.mark.parametrize(
    ("voices", "loudspeaker", "patience_us"), [(1, True, 2_500), (9, True, 5_000), (9, False, 20_000)]
)
def test_what_is_made_at_a_time_is_worth_some_waiting_for_the_core(
    voices: int, loudspeaker: bool, patience_us: int
) -> None:
    room = Room(*range(440, 440 + 100 * voices, 100))
    speaker = FakeSpeaker() if loudspeaker else None
    room.receiver.set_speaker(speaker)
    room.receiver.subscribe()
    room.run(4 * SECOND, speaker)
    assert room.receiver._patience_us == patience_us


def test_a_subscriber_that_does_not_read_loses_the_oldest_and_it_is_counted() -> None:
    room = Room(440)
    queue = room.receiver.subscribe()
    room.run(3 * SECOND)
    assert queue.dropped > 100
    assert len(taken(queue)) == SUBSCRIPTION_BLOCKS


def test_the_recorder_gets_each_frame_once_in_capture_order() -> None:
    room = Room(440)
    recorded: list[OpusFrame] = []
    room.receiver.set_on_opus(lambda client_id, frame: recorded.append(frame))
    room.run(3 * SECOND, lost=frozenset({100, 150}))
    times = [frame.capture_us for frame in recorded]
    assert all(frame.data for frame in recorded)
    assert times == sorted(set(times))
    numbers = {capture_us: number for number, (_, capture_us) in enumerate(room.frames["client-440"])}
    recorded_numbers = {numbers[capture_us] for capture_us in times}
    assert recorded_numbers == set(range(max(recorded_numbers) + 1)) - {100, 150}
    assert len(recorded_numbers) > 290


def test_who_speaks_after_a_rest_while_the_loudspeaker_is_away_is_handed_out_and_heard_when_it_is_back() -> (
    None
):
    room, speaker = Room(440), FakeSpeaker()
    speaker.alive = False
    room.receiver.set_speaker(speaker)
    queue = room.receiver.subscribe()
    room.receiver.begin(room.now_us)
    room.run(1 * SECOND)
    assert len(taken(queue)) > 150
    speaker.alive = True
    room.run(2 * SECOND, speaker)
    underruns = speaker.underruns
    room.run(3 * SECOND, speaker)
    assert speaker.underruns == underruns
    assert abs(loudest(np.concatenate(speaker.played[-50:])) - 440) < 2


def test_a_hanging_loudspeaker_does_not_hold_up_the_rest() -> None:
    room, speaker = Room(440), FakeSpeaker()
    room.receiver.set_speaker(speaker)
    queue = room.receiver.subscribe()
    room.run(1 * SECOND, speaker)
    taken(queue)
    room.run(2 * SECOND)  # takes nothing, says it lives
    stalled = len(taken(queue))
    speaker.alive = False
    room.run(3 * SECOND)
    dead = len(taken(queue))
    assert 180 <= stalled <= 200
    assert 180 <= dead <= 210
    assert speaker.queued_us <= RING_MIN_US


def test_the_delay_for_lip_sync_is_capture_to_air() -> None:
    room, speaker = Room(440), FakeSpeaker()
    assert room.receiver.audio_delay_us("client-440") is None
    room.receiver.set_speaker(speaker)
    room.run(3 * SECOND, speaker)
    delay_us = room.receiver.audio_delay_us("client-440")
    queue = room.receiver.subscribe("client-440")
    room.run(room.now_us + 10 * MS, speaker)
    block = taken(queue)[-1]
    assert block.capture_us is not None
    # It is the last in the ring, and is heard 30 ms after the device takes it.
    heard_us = room.now_us + speaker.queued_us - PLAY_US + 30 * MS
    assert delay_us is not None
    assert abs(delay_us - (heard_us - block.capture_us)) <= 3 * MS
    assert room.receiver.audio_delay_us("nobody") is None


@pytest.mark.parametrize("ppm", [-200, 200])
def test_sound_cards_whose_clocks_differ_are_followed_by_resampling(ppm: int) -> None:
    room, speaker = Room(440), FakeSpeaker()
    room.ppm = ppm
    room.receiver.set_speaker(speaker)
    room.run(60 * SECOND, speaker)
    before, before_us = room.receiver.counts("client-440"), room.receiver.audio_delay_us("client-440")
    assert before is not None
    before = replace(before)
    assert before_us is not None
    room.run(120 * SECOND, speaker)
    after, after_us = room.receiver.counts("client-440"), room.receiver.audio_delay_us("client-440")
    assert after is not None
    assert after_us is not None
    assert after == replace(before, pushed=after.pushed, played=after.played)
    # Without it, 60 s of 200 ppm are 12 ms.
    assert abs(after_us - before_us) <= 3 * MS
    heard = np.concatenate(speaker.played[-100:])
    assert np.abs(np.diff(heard[:, 0].astype(int), 2)).max() < 100, "no click"


@pytest.mark.parametrize("playing", [False, True])
def test_with_a_latency_asked_for_sound_is_heard_when_its_picture_is_shown(playing: bool) -> None:
    room, speaker = Room(440), FakeSpeaker() if playing else None
    room.receiver.add_client("client-440", latency_us=250 * MS)
    room.receiver.set_speaker(speaker)
    room.receiver.subscribe()
    room.run(5 * SECOND, speaker)
    delay_us = room.receiver.audio_delay_us("client-440")
    assert delay_us is not None
    assert abs(delay_us - 250 * MS) <= 15 * MS


def test_mute_silences_the_loudspeaker_only() -> None:
    room, speaker = Room(440), FakeSpeaker()
    room.receiver.set_speaker(speaker)
    queue = room.receiver.subscribe()
    room.run(1 * SECOND, speaker)
    room.receiver.muted = True
    room.run(2 * SECOND, speaker)
    assert not np.concatenate(speaker.played[-50:]).any()
    assert taken(queue)[-1].pcm.any()
    room.receiver.muted = False
    room.run(3 * SECOND, speaker)
    assert np.concatenate(speaker.played[-50:]).any()


def test_each_client_s_volume_is_heard_in_the_mix_only_and_changes_without_a_click() -> None:
    room = Room(440)
    mixed, alone = room.receiver.subscribe(), room.receiver.subscribe("client-440")
    room.run(1 * SECOND)
    taken(mixed), taken(alone)
    assert room.receiver.set_volume("client-440", 0.5)
    room.run(3 * SECOND // 2)
    half = np.concatenate([block.pcm for block in taken(mixed)])
    assert abs(float(np.abs(half[-9600:]).max()) - 4000) < 400
    assert np.abs(np.diff(half[:, 0].astype(int), 2)).max() < 100, "no click"
    assert room.receiver.set_volume("client-440", 0.0)
    room.run(2 * SECOND)
    assert not np.concatenate([block.pcm for block in taken(mixed)[-50:]]).any()
    assert abs(float(np.abs(np.concatenate([block.pcm for block in taken(alone)])).max()) - 8000) < 800
    assert not room.receiver.set_volume("nobody", 1.0)


def test_who_leaves_is_faded_out() -> None:
    room, speaker = Room(440), FakeSpeaker()
    room.receiver.set_speaker(speaker)
    room.run(1 * SECOND, speaker)
    room.receiver.remove_client("client-440")
    room.run(3 * SECOND // 2, speaker)
    heard = np.concatenate(speaker.played[-80:])
    assert heard[:4800].any()
    assert not heard[-4800:].any()
    assert np.abs(np.diff(heard[:, 0].astype(int), 2)).max() < 150, "no click"


@pytest.mark.parametrize("clients", [5, 6, 7, 8, 9, 10, 17])
def test_who_leaves_a_room_of_many_is_not_heard_any_more_and_the_others_go_on(clients: int) -> None:
    pitches = range(400, 400 + 200 * clients, 200)
    room = Room(*pitches, amplitude=1000.0)
    mixed = room.receiver.subscribe()
    room.run(4 * SECOND)
    room.receiver.remove_client("client-400")
    taken(mixed)
    room.run(5 * SECOND)
    blocks = [block.pcm for block in taken(mixed)]
    assert 198 <= len(blocks) <= 200  # fewer at a time from then on, perhaps
    loudness = np.abs(np.fft.rfft(np.concatenate(blocks[-100:])[:, 0] * np.hanning(RATE // 2)))
    assert sorted(2 * np.argsort(loudness)[1 - clients :]) == list(pitches)[1:]


def test_where_all_lose_the_same_frame_two_at_a_time_are_made_up_well_and_the_others_by_libopus() -> None:
    room = Room(*range(400, 1400, 100))
    room.receiver.subscribe()
    clients = list(room.receiver._clients.values())
    bridges = [0]
    for _ in range(500):
        room.run(room.now_us + FRAME_US, lost=frozenset({400}))
        bridges.append(sum(client._decoder.bridges for client in clients if client._decoder is not None))
    assert 2 <= bridges[-1] < len(clients)
    assert max(later - earlier for earlier, later in itertools.pairwise(bridges)) <= 2
    assert {client.buffer.counts.lost + client.buffer.counts.stretched for client in clients} == {1}


def test_an_error_of_ours_in_one_client_s_sound_leaves_the_others_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("UDPCONF_STRICT", raising=False)
    room = Room(440, 550)
    broken, other = (room.receiver.subscribe(f"client-{pitch}") for pitch in (440, 550))
    room.run(1 * SECOND)
    play = ClientSound.play

    def stumbles(self: ClientSound, *args: int, audible: bool, may_bridge: bool) -> Pcm | None:
        if self is room.receiver._clients["client-440"]:
            raise IndexError
        return play(self, *args, audible=audible, may_bridge=may_bridge)

    monkeypatch.setattr(ClientSound, "play", stumbles)
    for queue in (broken, other):
        taken(queue)
    room.run(2 * SECOND)
    assert len(taken(other)) == 200
    assert not taken(broken)
    assert list(room.receiver.counters.values()) == [200]
    assert len(caplog.records) == 1
    monkeypatch.undo()
    room.run(3 * SECOND)
    assert len(taken(broken)) == 200


def test_how_loud_a_client_is_can_be_read_and_falls_when_it_is_silent() -> None:
    room = Room(440)
    room.receiver.subscribe()
    room.run(1 * SECOND)
    assert abs(room.receiver.level("client-440") - 8000 / 32_767) < 0.03
    room.run(2 * SECOND, lost=frozenset(range(300)))
    assert room.receiver.level("client-440") < 0.01
    assert room.receiver.level("nobody") == 0


def test_a_client_that_joins_again_starts_a_sequence_of_its_own() -> None:
    room = Room(440)
    queue = room.receiver.subscribe("client-440")
    room.run(2 * SECOND)
    room.receiver.add_client("client-440")
    taken(queue)
    data = room.frames["client-440"]
    for number in range(100):
        room.now_us += FRAME_US
        capture_us = room.now_us - PATH_US
        event = AudioReceived("client-440", number, capture_us, data[number][0], room.now_us, copy=False)
        room.receiver.handle(event)
        room.receiver.turn(room.now_us)
    assert len(taken(queue)) > 90


def test_sound_that_nobody_wants_and_strangers_are_not_kept() -> None:
    room = Room(440)
    room.send(0)
    assert not room.receiver._inbox, "nobody listens"
    room.receiver.subscribe()
    room.receiver.handle(AudioReceived("stranger", 0, 0, b"", 0, copy=False))
    assert not room.receiver._inbox
    room.send(0)
    assert len(room.receiver._inbox) == 1
    room.receiver.remove_client("client-440")
    room.send(1)
    assert len(room.receiver._inbox) == 1


@pytest.mark.parametrize("count", [INBOX_MAX - 1, INBOX_MAX, INBOX_MAX + 1])
def test_the_inbox_is_bounded_and_counts_what_it_drops(count: int) -> None:
    room = Room(440)
    room.receiver.subscribe()
    for _ in range(count):
        room.send(0)
    assert len(room.receiver._inbox) == min(count, INBOX_MAX)
    assert room.receiver.overflowed == max(0, count - INBOX_MAX)


def test_a_second_after_the_last_sound_there_is_nothing_to_do() -> None:
    room = Room(440)
    room.receiver.subscribe()
    room.run(1 * SECOND)
    ended_us = room.now_us
    while room.receiver.turn(room.now_us):
        room.now_us += FRAME_US
        assert room.now_us < ended_us + 2 * SECOND
    assert room.now_us - ended_us >= REST_US


def test_the_thread_ends_at_once_and_ends_subscriptions() -> None:
    receiver = AudioReceiver()
    receiver.start()
    queue = receiver.subscribe()
    ended = threading.Event()

    def read() -> None:
        while queue.get() is not None:
            pass
        ended.set()

    reader = threading.Thread(target=read)
    reader.start()
    receiver.stop()
    reader.join(5)
    assert ended.is_set()
    assert not receiver._thread.is_alive()
    assert receiver.subscribe().get(0) is None, "closed from the start"


def test_a_stop_between_two_looks_of_the_thread_is_not_slept_through() -> None:
    receiver = AudioReceiver()
    ends: list[threading.Thread] = []

    class Work(threading.Event):
        """The stop comes when the thread has seen that it may go on and lets the flag fall."""

        def clear(self) -> None:
            if not ends:
                ends.append(threading.Thread(target=receiver.stop))
                ends[0].start()
                self.wait()
            super().clear()

    receiver._work = Work()
    receiver.start()
    receiver._thread.join(5.0)
    assert not receiver._thread.is_alive()
    ends[0].join()


def test_the_thread_goes_on_after_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("UDPCONF_STRICT", raising=False)
    receiver = AudioReceiver()
    receiver.add_client("voice")
    queue = receiver.subscribe("voice")
    raised: list[OpusFrame] = []

    def on_opus(client_id: str, frame: OpusFrame) -> None:
        if len(raised) < 3:
            raised.append(frame)
            raise KeyError

    receiver.set_on_opus(on_opus)
    receiver.start()
    data = OpusEncoder().encode(np.zeros(FRAME_SAMPLES, np.int16))
    now_us = receiver._clock()
    for number in range(30):
        capture_us = now_us - 200 * MS + number * FRAME_US
        receiver.handle(AudioReceived("voice", number, capture_us, data, now_us, copy=False))
    for _ in range(20):
        assert queue.get(5) is not None
    receiver.stop()
    assert len(raised) == 3
    assert len(caplog.records) == 1


def test_the_thread_plays_what_arrives_and_fetches_until_it_rests() -> None:
    waiting: deque[AudioReceived] = deque()
    rests = threading.Event()

    def fetch(patience_us: int) -> None:
        rests.clear()
        while waiting:
            receiver.handle(waiting.popleft())

    receiver = AudioReceiver(fetch=fetch, rest=rests.set)
    receiver.add_client("voice")
    queue = receiver.subscribe("voice")
    receiver.start()
    data = OpusEncoder().encode(np.zeros(FRAME_SAMPLES, np.int16))
    now_us = receiver._clock()
    first, *others = (
        AudioReceived("voice", number, now_us - 200 * MS + number * FRAME_US, data, now_us, copy=False)
        for number in range(10)
    )
    waiting.extend(others)
    receiver.handle(first)
    for _ in range(20):
        assert queue.get(5) is not None
    assert rests.wait(5)
    receiver.stop()
