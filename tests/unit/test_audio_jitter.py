"""The audio jitter buffer in virtual time: loss, jitter, drift, gaps; every frame is counted once."""

import random
from typing import NamedTuple

import pytest

from tests.playing import Player
from udpconf.frames import OpusFrame
from udpconf.limits import AUDIO_BUFFER_US, MS, SECOND
from udpconf.proto.audio_jitter import FRAME_US, GAP_US, AudioJitterBuffer
from udpconf.proto.audio_target import PLAY_US

# A frame can be sent once its last sample is there, and Opus looks 2.5 ms ahead.
FRAMING_US = 12_500
FRAMES_MAX = AUDIO_BUFFER_US // FRAME_US
GAP_FRAMES = GAP_US // FRAME_US
MARK = b"\xf0"


class Run(NamedTuple):
    buffer: AudioJitterBuffer
    popped: list[tuple[int, OpusFrame | None]]  # time of the call, what it gave
    skipped: list[OpusFrame]

    def delays_us(self) -> list[int]:
        return sorted(at - frame.capture_us for at, frame in self.popped if frame and frame.data)

    def concealed(self) -> int:
        return sum(frame is not None and frame.data is None for _, frame in self.popped)


def listen(
    seconds: int,
    *,
    path_us: int = 1 * MS,
    jitter_us: int = 0,
    loss: float = 0.0,
    drift_ppm: int = 0,
    unsent: range = range(0),
    late: dict[int, int] | None = None,
    seed: int = 1,
) -> Run:
    """A stream over a path, played 5 ms at a time by a thread that is up to 1.5 ms late. Frame n is captured at n * 10 ms."""
    source = random.Random(seed)
    arrivals = []
    for number in range(seconds * 100):
        if number in unsent or source.random() < loss:
            continue
        delay_us = FRAMING_US + path_us + source.randint(0, jitter_us) + (late or {}).get(number, 0)
        arrivals.append((number * FRAME_US + delay_us, number))
    arrivals.sort(reverse=True)
    buffer = AudioJitterBuffer()
    player, seen, popped = Player(buffer), set[int](), list[tuple[int, OpusFrame | None]]()
    due = 3_333.0
    while due < seconds * SECOND:
        now_us = int(due) + source.randint(0, 1_500)
        while arrivals and arrivals[-1][0] <= now_us:
            arrival_us, number = arrivals.pop()
            # Each packet repeats the frame before it; whoever unpacks it passes on what is new.
            for offset in (0, 1):
                of = number - offset
                if of >= 0 and of not in seen and of not in unsent:
                    seen.add(of)
                    buffer.push(of, of * FRAME_US, b"opus", arrival_us, copy=offset == 1)
        popped += player.play(now_us)
        due += PLAY_US * (1 + drift_ppm / 1e6)
    assert_conserved(buffer)
    return Run(buffer, popped, player.skipped)


def assert_conserved(buffer: AudioJitterBuffer) -> None:
    counts = buffer.counts
    waiting = len(buffer._waiting)
    ends = counts.played + counts.skipped + counts.duplicate + counts.late + counts.dropped
    assert counts.pushed == ends + waiting, counts


@pytest.mark.parametrize("ppm", [-200, 0, 200])
def test_what_clocks_do_to_the_delay_is_told_from_what_is_done_here(ppm: int) -> None:
    buffer = listen(20, jitter_us=30 * MS, loss=0.1, drift_ppm=ppm).buffer
    assert buffer.counts.lengthened_us + buffer.counts.shortened_us > 0 or buffer.counts.lost > 0
    assert abs(buffer.carried_us - 20 * ppm) < 1 * MS


def test_on_a_steady_path_the_buffer_adds_little_and_loses_nothing() -> None:
    run = listen(30)
    delays = run.delays_us()
    assert run.concealed() == 0
    assert delays[len(delays) // 2] - FRAMING_US < 12 * MS
    assert run.buffer.counts.lost == run.buffer.counts.late == 0


@pytest.mark.parametrize("jitter_ms", [5, 20, 50, 100])
def test_jitter_is_absorbed_by_a_delay_not_much_larger(jitter_ms: int) -> None:
    run = listen(30, jitter_us=jitter_ms * MS)
    delays = run.delays_us()
    # The window sees the path's worst only after a while; each surprise until then stretches a frame or two.
    assert run.concealed() <= 20
    # One frame for the copies that overtake their originals, the margin, and the dead band.
    assert delays[len(delays) // 2] - FRAMING_US <= (jitter_ms + 25) * MS


def test_a_single_lost_packet_is_repaired_by_the_copy_in_the_next() -> None:
    run = listen(30, loss=0.02)
    # What stays lost is two packets in a row, one in 2500.
    assert run.concealed() <= 12
    assert run.buffer.counts.lost <= 5
    delays = run.delays_us()
    assert delays[len(delays) // 2] - FRAMING_US < 30 * MS


@pytest.mark.parametrize("jitter_ms", [0, 20])
def test_at_a_fifth_of_packets_lost_only_neighbours_are_concealed(jitter_ms: int) -> None:
    run = listen(60, loss=0.2, jitter_us=jitter_ms * MS)
    assert run.concealed() / len(run.popped) < 0.055, "0.2 * 0.2, and a little waiting"


@pytest.mark.parametrize("drift_ppm", [-200, 200])
def test_a_drifting_clock_is_followed_by_a_few_milliseconds_at_a_time(drift_ppm: int) -> None:
    run = listen(300, drift_ppm=drift_ppm)
    delays = run.delays_us()
    # 200 ppm of 300 s are 60 ms.
    counts = run.buffer.counts
    moved_us = counts.shortened_us if drift_ppm > 0 else counts.lengthened_us
    assert 45 * MS <= moved_us <= 75 * MS
    assert counts.lost == counts.skipped == counts.stretched == 0
    assert delays[-1] - delays[0] < 20 * MS


def test_a_burst_of_late_frames_costs_latency_for_seconds_but_no_sound() -> None:
    late = {1000 + index: 80 * MS - index * 10 * MS for index in range(8)}
    run = listen(40, late=late)
    assert run.buffer.counts.lost == 0
    assert run.buffer.counts.late == 0
    ends = [at - frame.capture_us for at, frame in run.popped[-500:] if frame and frame.data]
    assert max(ends) - FRAMING_US < 25 * MS, "the delay came down again"


def test_frames_left_out_when_it_is_far_too_late_are_given_to_the_recorder() -> None:
    late = {1000 + index: 300 * MS - index * 10 * MS for index in range(30)}
    run = listen(40, late=late)
    heard = {frame.capture_us for _, frame in run.popped if frame and frame.data}
    left_out = {frame.capture_us for frame in run.skipped}
    assert left_out
    assert not heard & left_out
    everything = heard | left_out
    assert len(everything) >= (max(everything) - min(everything)) // FRAME_US - 30


def test_a_muted_sender_is_concealed_briefly_then_silent_then_clean_again() -> None:
    run = listen(20, unsent=range(500, 1500))
    silent = [frame for at, frame in run.popped if 6 * SECOND < at < 15 * SECOND]
    assert not any(silent)
    back = [(at, frame) for at, frame in run.popped if at > 15 * SECOND and frame]
    assert all(frame.data for _, frame in back), "no concealment at the return"
    assert back[0][1].capture_us == 15 * SECOND
    assert run.buffer.counts.stretched <= GAP_FRAMES


def test_a_piece_that_was_made_up_before_its_frame_was_known_to_be_lost_counts_once() -> None:
    run = listen(20, unsent=range(500, 512))  # longer than what waits to be played, shorter than a pause
    counts = run.buffer.counts
    assert counts.lost == 12
    assert counts.lost + counts.stretched == run.concealed()
    assert counts.stretched <= 1, "the delay stays as it was"


@pytest.mark.parametrize(
    ("missing", "held_back", "inserted"),
    [
        (set(), 2, {}),  # in time
        (set(), 4, {20: 4}),  # two until it comes, two more until it is as old as the target is by then
        ({20}, 3, {}),  # what was made up stood for it
        ({20}, 4, {21: 1}),
        ({20, 21}, 4, {}),
    ],
)
def test_the_buffer_says_how_many_frames_were_made_up_for_none_before_one_that_comes_late(
    missing: set[int], held_back: int, inserted: dict[int, int]
) -> None:
    """Frame 20 and those after it come so many frames later, or not at all. Two wait always."""
    buffer, late = AudioJitterBuffer(), dict[int, int]()
    for tick in range(60):
        now_us = tick * FRAME_US + 1 * MS
        back = held_back if 20 <= tick < 20 + held_back else 0
        numbers = [] if back else [tick]
        if tick == 20 + held_back:
            numbers = list(range(20, tick + 1))
        for number in numbers:
            if number not in missing:
                buffer.push(number, number * FRAME_US, bytes([number]), now_us)
        frame = buffer.pop(now_us)
        if buffer.inserted:
            assert frame is not None
            assert frame.data is not None
            late[frame.data[0]] = buffer.inserted
    assert late == inserted


def test_nothing_is_played_before_the_first_frame() -> None:
    buffer = AudioJitterBuffer()
    assert buffer.pop(0) is None
    assert buffer.delay_us is None
    assert buffer.target_us is None


@pytest.mark.parametrize("count", [FRAMES_MAX - 1, FRAMES_MAX, FRAMES_MAX + 1])
def test_the_buffer_holds_400_ms_and_drops_the_oldest(count: int) -> None:
    buffer = AudioJitterBuffer()
    for number in range(count):
        buffer.push(number, number * FRAME_US, b"opus", number * FRAME_US + FRAMING_US)
    assert buffer.counts.dropped == max(0, count - FRAMES_MAX)
    assert AUDIO_BUFFER_US == FRAMES_MAX * FRAME_US
    assert_conserved(buffer)


def test_late_and_duplicate_frames_are_told_apart() -> None:
    buffer = AudioJitterBuffer()
    for number in (0, 1, 3, 4, 5):
        buffer.push(number, number * FRAME_US, b"opus", number * FRAME_US + FRAMING_US)
    for tick in range(5):
        buffer.pop(50 * MS + tick * FRAME_US)
    assert buffer.counts.lost == 1
    buffer.push(2, 2 * FRAME_US, b"opus", 100 * MS)
    buffer.push(1, 1 * FRAME_US, b"opus", 100 * MS)
    assert buffer.counts.late == 1
    assert buffer.counts.duplicate == 1
    assert_conserved(buffer)


def test_a_clock_that_is_set_makes_the_buffer_measure_anew() -> None:
    buffer = AudioJitterBuffer()
    heard = 0
    for number in range(2000):
        now_us = number * FRAME_US + FRAMING_US
        step_us = 3600 * SECOND if number >= 1000 else 0
        buffer.push(number, number * FRAME_US + step_us, b"opus", now_us)
        frame = buffer.pop(now_us + 2 * MS)
        heard += number >= 1200 and frame is not None and frame.data is not None
    assert heard == 800
    assert_conserved(buffer)


def test_a_leap_in_the_sequence_numbers_is_not_concealed_frame_by_frame() -> None:
    buffer = AudioJitterBuffer()
    made_up = 0
    for tick in range(200):
        number = tick if tick < 100 else tick + 100_000
        now_us = tick * FRAME_US + FRAMING_US
        buffer.push(number, tick * FRAME_US, b"opus", now_us)
        frame = buffer.pop(now_us + 2 * MS)
        made_up += frame is not None and frame.data is None
    assert made_up < 5
    assert buffer.counts.lost == 100_000


def rested(marks: dict[int, int], until_us: int) -> tuple[AudioJitterBuffer, list[int]]:
    """A second of sound, then marks with these numbers after so many ms; and when there was sound, or silence in its place."""
    buffer, sounding = AudioJitterBuffer(), list[int]()
    player = Player(buffer)
    frames = [(number, number * FRAME_US, b"opus") for number in range(100)]
    frames += [(number, after_ms * MS, MARK) for number, after_ms in marks.items()]
    for now_us in range(0, until_us, PLAY_US):
        while frames and frames[0][1] + FRAMING_US <= now_us:
            number, capture_us, data = frames.pop(0)
            buffer.push(number, capture_us, data, now_us)
        player.play(now_us)
        if buffer.delay_us is not None:
            sounding.append(now_us)
    assert_conserved(buffer)
    return buffer, sounding


def test_a_buffer_that_rests_gives_silence_and_knows_its_delay() -> None:
    buffer, sounding = rested({100: 1000, 101: 1010, 102: 1020, 103: 1420, 104: 1820}, 2 * SECOND)
    assert sounding[-1] == 2 * SECOND - PLAY_US
    assert buffer.delay_us == buffer.target_us
    assert buffer.counts.stretched == buffer.counts.lost == buffer.counts.lengthened_us == 0
    assert buffer.counts.silent_us > 900 * MS


def test_who_sends_no_mark_for_two_seconds_has_gone() -> None:
    buffer, sounding = rested({100: 1000, 101: 1010, 102: 1020}, 4 * SECOND)
    assert 3 * SECOND <= sounding[-1] <= 3 * SECOND + 100 * MS
    assert buffer.counts.stretched == buffer.counts.lost == 0


def test_lost_marks_count_as_nothing() -> None:
    buffer, sounding = rested({100: 1000, 104: 1800, 107: 3000}, 4 * SECOND)
    assert sounding[-1] == 4 * SECOND - PLAY_US
    assert buffer.counts.stretched == buffer.counts.lost == 0


def test_after_a_rest_sound_begins_at_the_instant_at_which_it_is_due() -> None:
    buffer, begun = AudioJitterBuffer(), dict[int, int]()
    player = Player(buffer)
    # Half a second of sound and a mark, again and again, between any two of the player's calls.
    words = [word * (700 * MS + 1_234) for word in range(6)]
    frames = [(at + n * FRAME_US, b"opus" if n < 50 else MARK) for at in words for n in range(51)]
    arrivals = list(enumerate(frames))
    for now_us in range(0, 5 * SECOND, PLAY_US):
        while arrivals and arrivals[0][1][0] + FRAMING_US <= now_us:
            number, (capture_us, data) = arrivals.pop(0)
            buffer.push(number, capture_us, data, capture_us + FRAMING_US)
        for at_us, frame in player.play(now_us):
            if frame is not None and frame.capture_us in words:
                begun[frame.capture_us] = at_us - frame.capture_us
    delays = [begun[at] for at in words[2:]]  # by then the target rests
    assert buffer.target_us is not None
    assert max(abs(delay - buffer.target_us) for delay in delays) <= 100


def test_who_conceals_a_lost_frame_may_look_at_the_one_after_it() -> None:
    buffer = AudioJitterBuffer()
    assert buffer.following is None
    buffer.least_us = 60 * MS
    seen = list[tuple[bytes | None, bytes | None]]()
    for number in range(30):
        now_us = number * FRAME_US + 1 * MS
        if number != 20:
            buffer.push(number, number * FRAME_US, bytes([number]), now_us)
        frame = buffer.pop(now_us)
        if frame is not None:
            seen.append((frame.data, buffer.following))
    at = seen.index((None, bytes([21])))
    assert seen[at - 1 : at + 2] == [(bytes([19]), None), (None, bytes([21])), (bytes([21]), bytes([22]))]
