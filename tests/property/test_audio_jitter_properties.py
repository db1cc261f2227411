"""Whatever arrives, in whatever order: each frame is counted once, sound never goes back in time, memory is bounded."""

from hypothesis import given
from hypothesis import strategies as st

from udpconf.limits import AUDIO_BUFFER_US, MS
from udpconf.proto.audio_jitter import FRAME_US, AudioJitterBuffer
from udpconf.proto.audio_target import PLAY_US

MARK = b"\xf0"
FRAMES_MAX = AUDIO_BUFFER_US // FRAME_US
STEPS = st.lists(
    st.tuples(
        st.integers(0, 60),  # sequence number, relative to the time so far
        st.integers(-300 * MS, 300 * MS),  # error of the capture time
        st.integers(0, 15 * MS),  # time that passes
        st.booleans(),  # a copy
        st.integers(0, 2),  # pops
        st.integers(0, 20_000),  # ahead, and half of it as a change
    ),
    max_size=300,
)


@given(steps=STEPS, exact=st.booleans(), marks=st.sets(st.integers(0, 7)))
def test_every_frame_is_counted_once_and_order_is_kept(
    steps: list[tuple[int, int, int, bool, int, int]], exact: bool, marks: set[int]
) -> None:
    """Of each eight frames some are silence marks."""
    buffer = AudioJitterBuffer()
    now_us = 0
    numbers: list[int] = []
    passed = 0
    for offset, error_us, passed_us, copy, pops, ahead_us in steps:
        now_us += passed_us
        number = now_us // FRAME_US + offset
        capture_us = number * FRAME_US + (0 if exact else error_us)
        data = MARK if number % 8 in marks else number.to_bytes(4, "big")
        buffer.push(number, capture_us, data, now_us, copy=copy)
        for _ in range(pops):
            frame = buffer.pop(now_us, ahead_us)
            if buffer.wish_us:
                buffer.handle_stretch((ahead_us - 10_000) // 2)
            given_out = [*buffer.skipped, *([frame] if frame else [])]
            sounds = [out.data for out in given_out if out.data is not None and out.data != MARK]
            numbers += [int.from_bytes(data, "big") for data in sounds]
            passed += sum(out.data == MARK for out in given_out)
            assert frame is None or frame.data != MARK
            assert 0 <= buffer.silence_us <= PLAY_US
        assert len(buffer._waiting) <= FRAMES_MAX
        counts = buffer.counts
        ends = counts.played + counts.skipped + counts.duplicate + counts.late + counts.dropped
        assert counts.pushed == ends + len(buffer._waiting)
        assert buffer.counts.played + buffer.counts.skipped == len(numbers) + passed
    assert numbers == sorted(set(numbers)), "played once each, in order"
