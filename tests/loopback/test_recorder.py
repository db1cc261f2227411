"""Recordings on a real disk, read back by FFmpeg: the same bytes, the right times, whatever happens on the way."""

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.loopback.recordings import (
    CLIENT,
    EPOCH_US,
    Readback,
    filmed,
    frequency,
    in_order,
    read_back,
    received,
    times,
    tone,
)
from tests.loopback.waiting import PATIENCE_S, wait_until
from tests.scenes import film, psnr
from udpconf.errors import ConfigError
from udpconf.frames import OpusFrame, ReceivedFrame, silence_mark
from udpconf.limits import MS, RECORDER_QUEUE_BYTES, RECORDER_RESERVE_BYTES, SECOND
from udpconf.media.decode import FrameDecoder
from udpconf.media.jpeg import JpegEncoder, write_jpeg
from udpconf.media.lz4_codec import Lz4Encoder
from udpconf.media.rate import RateLimitedEncoder
from udpconf.media.recorder import (
    FRAME_OVERHEAD_BYTES,
    Recorder,
    RecordingEnded,
    RecordingEvent,
    RecordingStarted,
)

Media = Sequence[ReceivedFrame | OpusFrame]


class Desk:
    """A recorder and what it says."""

    def __init__(self, directory: Path, **options: int) -> None:
        self.events: list[RecordingEvent] = []
        self.recorder = Recorder(directory, self.events.append, reserve_bytes=0, **options)

    def record(self, media: Media, client_id: str = CLIENT) -> None:
        for item in media:
            if isinstance(item, OpusFrame):
                self.recorder.write_audio(client_id, item)
            else:
                self.recorder.write_video(client_id, item)

    def paths(self) -> list[Path]:
        return [event.path for event in self.events if isinstance(event, RecordingStarted)]

    def reasons(self) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, RecordingEnded)]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.recorder.stop()


def recorded(desk: Desk, media: Media, **kinds: bool) -> Readback:
    """What is in the one file that becomes of the media."""
    desk.recorder.open(CLIENT, "Front Door", address="10.0.0.7:40000", **kinds)
    desk.record(media)
    desk.recorder.stop()
    (path,) = desk.paths()
    assert desk.events == [
        RecordingStarted(CLIENT, path),
        RecordingEnded(CLIENT, path, "The recording was stopped."),
    ]
    return read_back(path)


def test_jpegs_are_stored_as_they_came_at_the_times_of_their_capture(desk: Desk) -> None:
    odd_times = [0, 33 * MS, 61 * MS, 100 * MS, 101 * MS, 500 * MS, 2500 * MS, 2533 * MS]
    frames = filmed(odd_times)
    found = recorded(desk, [*frames], audio=False)
    assert found.video_codec == "mjpeg"
    assert found.jpegs == [write_jpeg(frame.encoded) for frame in frames]
    assert found.video_us == odd_times
    assert len(found.pictures) == len(frames)


def test_sound_and_pictures_of_one_moment_are_at_one_time(desk: Desk) -> None:
    """The picture turns white and the tone begins at 1.023 s."""
    moment_us = 31 * 33 * MS
    frames = filmed(times(90), white_from_us=moment_us)
    found = recorded(desk, in_order(frames, tone(1000, 0, 3 * SECOND, sound_from_us=moment_us)))
    # The file starts with the sound, whose first frame is 2.5 ms older than the first picture (the encoder's delay).
    white = next(number for number, image in enumerate(found.pictures) if image.min() > 250)
    loud = int(np.argmax(np.abs(found.pcm) > 0.05))
    apart_us = int(found.pcm_us[loud]) - found.video_us[white]
    assert abs(apart_us) <= 3 * MS, f"{apart_us} us between picture and sound"
    assert 0 <= found.video_us[0] <= 3 * MS
    tail = found.pcm[loud + 4800 : loud + 4800 + 48_000]
    assert abs(frequency(tail) - 1000) <= 1
    assert abs(len(found.pcm) - 3 * 48_000) <= 480
    assert found.duration_us is not None
    assert abs(found.duration_us - 3 * SECOND) <= 40 * MS


def test_opus_packets_are_stored_as_they_came(desk: Desk) -> None:
    sound = tone(440, 0, 2 * SECOND)
    found = recorded(desk, [*sound], video=False)
    assert found.video_codec is None
    assert found.sound_us == [number * 10 * MS for number in range(200)]
    assert abs(frequency(found.pcm[4800:52_800]) - 440) <= 1


def test_lost_sound_is_a_gap_in_the_times(desk: Desk) -> None:
    sound = tone(440, 0, 1 * SECOND)
    sound[30:40] = [frame._replace(data=None) for frame in sound[30:40]]
    found = recorded(desk, [*sound], video=False)
    assert found.sound_us == [number * 10 * MS for number in range(100) if not 30 <= number < 40]


def test_silence_that_was_left_out_is_in_the_file_from_mark_to_mark(desk: Desk) -> None:
    sound = tone(440, 0, 2 * SECOND)
    assert sound[0].data is not None
    mark = silence_mark(sound[0].data)
    marked = [0, 1, 2, 42, 82]  # as a sender has them; the frames between are not sent
    sound = [*sound[:40], *(sound[40 + n]._replace(data=mark) for n in marked), *sound[160:]]
    found = recorded(desk, [*sound], video=False)
    assert found.sound_us == [number * 10 * MS for number in range(200)]
    assert np.abs(np.diff(found.pcm_us)).max() < 1 * MS, "one sample after the other, but for rounding"
    assert abs(frequency(found.pcm[4800:19_200]) - 440) <= 3
    assert abs(found.pcm[24_000:76_000]).max() < 0.01
    assert abs(frequency(found.pcm[78_000:]) - 440) <= 3


def test_after_a_mark_that_no_other_follows_there_is_a_gap(desk: Desk) -> None:
    sound = tone(440, 0, 4 * SECOND)
    assert sound[0].data is not None
    sound = [*sound[:40], sound[40]._replace(data=silence_mark(sound[0].data)), *sound[300:]]
    found = recorded(desk, [*sound], video=False)
    assert found.sound_us == [number * 10 * MS for number in range(400) if number <= 40 or number >= 300]


def test_the_file_says_who_from_where_and_when(desk: Desk) -> None:
    before = time.time()
    found = recorded(desk, [*filmed(times(10))], audio=False)
    assert found.tags["title"] == "Front Door"
    assert found.tags["COMMENT"] == "10.0.0.7:40000"
    assert found.tags["creation_time"].startswith(time.strftime("%Y-%m", time.gmtime(before)))
    (path,) = desk.paths()
    assert path.name.endswith("Z-01234567-front-door.mkv")


def with_hole(frame: ReceivedFrame, first: int, end: int) -> ReceivedFrame:
    kept = tuple(segment for segment in frame.encoded.segments if not first <= segment.first_interval < end)
    return frame._replace(encoded=frame.encoded._replace(segments=kept))


def test_a_frame_with_holes_is_recorded_as_it_was_shown(desk: Desk) -> None:
    """Holes borrow from the picture before, also from one that had holes itself."""
    frames = filmed(times(8))
    count = frames[0].encoded.description.interval_count
    for number in (3, 4, 6):
        frames[number] = with_hole(frames[number], number % 3, count // 2)
    viewer = FrameDecoder()
    shown = [viewer.decode(frame.encoded).image for frame in frames]
    found = recorded(desk, [*frames], audio=False)
    for number, (image, seen) in enumerate(zip(found.pictures, shown, strict=True)):
        assert psnr(image, seen) > 34, f"picture {number}"
        if number not in (3, 4, 6):
            assert found.jpegs[number] == write_jpeg(frames[number].encoded)


def test_lossless_pictures_stay_lossless(desk: Desk) -> None:
    encoder = Lz4Encoder()
    images = [film(321, 181, shift=number) for number in range(4)]
    frames = [
        received(encoder.encode(image, EPOCH_US + number * 50 * MS, 1100), number)
        for number, image in enumerate(images)
    ]
    found = recorded(desk, [*frames], audio=False)
    assert found.video_codec == "ffv1"
    assert found.video_us == [0, 50 * MS, 100 * MS, 150 * MS]
    for image, stored in zip(images, found.pictures, strict=True):
        assert np.array_equal(image, stored)


def test_grey_pictures_are_stored_as_well(desk: Desk) -> None:
    encoder = JpegEncoder()
    frames = [
        received(encoder.encode(film(320, 180)[..., 0], 60, EPOCH_US + time_us, 1100)) for time_us in times(8)
    ]
    frames[5] = with_hole(frames[5], 2, 5)
    found = recorded(desk, [*frames], audio=False)
    assert len(found.pictures) == 8


def test_a_kind_that_never_comes_is_waited_for_no_longer_than_a_second(desk: Desk, tmp_path: Path) -> None:
    desk.recorder.open(CLIENT, "deaf")
    desk.record([*filmed(times(10))])
    assert list(tmp_path.iterdir()) == []
    wait_until(lambda: len(desk.paths()) == 1, "the file waits for sound for ever")
    desk.recorder.stop()
    found = read_back(desk.paths()[0])
    assert len(found.pictures) == 10
    assert found.sound_us == []


def test_a_new_size_begins_a_new_file_but_not_with_each_frame(tmp_path: Path) -> None:
    """A sender that changes the size all the time gets a file a second, not one a frame."""
    desk = Desk(tmp_path)
    desk.recorder.open(CLIENT, "zoom", audio=False)
    small, large = filmed(times(40)), filmed(times(40), 640, 360)
    desk.record([small[number] if number % 2 else large[number] for number in range(40)])
    wait_until(lambda: len(desk.paths()) == 1, "no file")
    time.sleep(1.1)
    desk.record([*filmed([2 * SECOND, 2033 * MS], 160, 90)])
    desk.recorder.stop()
    first, second = desk.paths()
    assert second.name == first.name.replace(".mkv", "-2.mkv")
    assert {image.shape for image in read_back(first).pictures} == {(360, 640, 3)}
    found = read_back(second)
    assert {image.shape for image in found.pictures} == {(90, 160, 3)}
    assert found.video_us == [0, 33 * MS]


def test_pictures_that_were_sent_smaller_for_a_while_are_in_the_same_file_as_they_came(desk: Desk) -> None:
    encoder = RateLimitedEncoder(75, 50, 8000, 30)
    frames = []
    for number in range(60):
        path_kbps = 500 if 20 <= number < 40 else 8000
        encoded = encoder.encode(film(640, 360, shift=number), number * 33 * MS, path_kbps=path_kbps)
        if encoded is not None:
            frames.append(ReceivedFrame(number, encoded, 0, encoded.capture_us, encoded.capture_us))
    frames[35] = with_hole(frames[35], 0, 1)
    found = recorded(desk, frames, audio=False)
    widths = {image.shape[1] for image in found.pictures}
    assert 640 in widths
    assert min(widths) < 640
    assert len(found.pictures) == len(frames)


def test_a_new_file_begins_after_a_while_and_sound_goes_on_where_it_was(tmp_path: Path) -> None:
    """Sound arrives 100 ms behind the pictures; none of it is lost at the seam."""
    desk = Desk(tmp_path, file_us=1 * SECOND)
    desk.recorder.open(CLIENT, "long")
    frames, sound = filmed(times(45)), tone(440, 0, 1500 * MS)
    media: list[ReceivedFrame | OpusFrame] = [*frames, *sound]
    late = sorted(
        media,
        key=lambda m: m.capture_us + 100 * MS if isinstance(m, OpusFrame) else m.encoded.capture_us,
    )
    half = next(n for n, m in enumerate(late) if isinstance(m, ReceivedFrame) and m.frame_id == 31)
    desk.record(late[:half])
    wait_until(lambda: len(desk.paths()) == 1, "no file")
    time.sleep(1.1)
    desk.record(late[half:])
    desk.recorder.stop()
    first, second = [read_back(path) for path in desk.paths()]
    assert len(first.pictures) + len(second.pictures) == 45
    assert len(first.sound_us) + len(second.sound_us) == 150
    assert second.sound_us[0] <= 1 * MS
    assert 80 * MS <= second.video_us[0] <= 120 * MS
    assert [event.path for event in desk.events] == [path for path in desk.paths() for _ in range(2)]
    assert desk.reasons() == [
        "The recording goes on in the next file of its series.",
        "The recording was stopped.",
    ]


def test_two_clients_of_one_name_and_one_that_comes_back_have_files_of_their_own(desk: Desk) -> None:
    other = "0123456799999999"  # the same first 8 digits
    for client_id in (CLIENT, other, CLIENT):
        desk.recorder.open(client_id, "cam", audio=False)
        desk.record([*filmed(times(7))], client_id)
        desk.recorder.close(client_id)
    desk.recorder.stop()
    assert len(set(desk.paths())) == 3
    for path in desk.paths():
        assert len(read_back(path).pictures) == 7
    assert desk.reasons() == ["The client left."] * 3


def test_media_of_a_client_that_is_not_open_are_ignored(desk: Desk, tmp_path: Path) -> None:
    desk.record(in_order(filmed(times(3)), tone(440, 0, 100 * MS)))
    desk.recorder.close(CLIENT)
    desk.recorder.stop()
    desk.record([*filmed(times(3))])
    desk.recorder.stop()
    assert list(tmp_path.iterdir()) == []
    assert desk.events == []


class Stalled(Desk):
    """A recorder whose thread stands still, as on a disk that does not answer, until it is let go."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.go_on = threading.Event()
        stalled = threading.Event()

        def listen(event: RecordingEvent) -> None:
            self.events.append(event)
            stalled.set()
            assert self.go_on.wait(PATIENCE_S)

        self.recorder._on_event = listen
        self.recorder.open(CLIENT, "slow", audio=True)
        self.record(in_order(filmed(times(8)), tone(440, 0, 300 * MS)))
        assert stalled.wait(PATIENCE_S)
        wait_until(lambda: len(self.paths()) == 1, "no file")


@pytest.mark.parametrize(("excess_bytes", "left_out"), [(-1, 0), (0, 0), (1, 1)])
def test_a_full_queue_leaves_out_the_oldest_pictures(
    tmp_path: Path, excess_bytes: int, left_out: int
) -> None:
    desk = Stalled(tmp_path)
    (frame,) = filmed([400 * MS])
    queued = desk.recorder._queued_bytes
    filler = RECORDER_QUEUE_BYTES - queued - 2 * (frame.encoded.coded_size + FRAME_OVERHEAD_BYTES)
    first = frame.encoded.segments[0]
    padded = frame.encoded._replace(
        segments=(first._replace(data=bytes(filler - FRAME_OVERHEAD_BYTES + excess_bytes)),)
    )
    for encoded in (padded, frame.encoded, frame.encoded):
        desk.recorder.write_video("nobody", frame._replace(encoded=encoded))
    assert desk.recorder.frames_left_out == left_out
    assert desk.recorder._queued_bytes <= RECORDER_QUEUE_BYTES
    desk.go_on.set()
    desk.recorder.stop()


def test_a_slow_disk_costs_pictures_but_no_sound_and_nobody_waits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Stalled(tmp_path)
    (frame,) = filmed([0])
    moments_us = [EPOCH_US + 400 * MS + number * MS for number in range(1500)]
    frames = [received(frame.encoded._replace(capture_us=moment_us)) for moment_us in moments_us]
    desk.record(in_order(frames, tone(440, 300 * MS, 1 * SECOND)))
    assert desk.recorder.frames_left_out > 100
    assert desk.recorder.sound_left_out == 0
    assert len([record for record in caplog.records if "too slow" in record.message]) == 1
    desk.go_on.set()
    wait_until(lambda: not desk.recorder._queue, "the queue is never empty")
    desk.recorder.stop()
    assert len(read_back(desk.paths()[0]).sound_us) == 100


def test_stop_gives_up_on_a_disk_that_does_not_answer(tmp_path: Path) -> None:
    desk = Stalled(tmp_path)
    desk.recorder.stop()
    assert desk.recorder._thread.is_alive()
    desk.go_on.set()
    desk.recorder._thread.join(PATIENCE_S)
    assert read_back(desk.paths()[0]).sound_us


DiskUsage = namedtuple("DiskUsage", "total used free")  # noqa: PYI024 - as shutil's


def test_a_disk_that_reaches_its_reserve_ends_the_recording_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [RECORDER_RESERVE_BYTES]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: DiskUsage(10**12, 0, free[0]))
    events: list[RecordingEvent] = []
    recorder = Recorder(tmp_path, events.append)
    recorder.open(CLIENT, "cam", audio=False)
    for frame in filmed(times(10)):
        recorder.write_video(CLIENT, frame)
    wait_until(lambda: len(events) == 1, "not started at the reserve itself")
    free[0] -= 1
    wait_until(lambda: len(events) == 2, "goes on below the reserve")
    ended = events[1]
    assert isinstance(ended, RecordingEnded)
    assert "MiB are kept free" in ended.reason
    assert len(read_back(ended.path).pictures) == 10
    for frame in filmed(times(10)):
        recorder.write_video(CLIENT, frame)
    recorder.open("fedcba9876543210", "another", audio=False)
    for frame in filmed(times(10)):
        recorder.write_video("fedcba9876543210", frame)
    wait_until(lambda: len(events) == 3, "nobody says that the second recording cannot start")
    assert isinstance(events[2], RecordingEnded)
    assert events[2].client_id == "fedcba9876543210"
    recorder.stop()
    assert len(events) == 3
    assert [path.name for path in tmp_path.iterdir()] == [ended.path.name]


def test_recording_does_not_begin_where_it_cannot_go_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError):
        Recorder(tmp_path / "file", lambda event: None)


def test_a_fault_in_one_clients_media_leaves_the_others_alone(desk: Desk) -> None:
    bad = "badbadbadbadbad0"
    desk.recorder.open(bad, "bad", audio=False)
    desk.recorder.open(CLIENT, "good", audio=False)
    (frame,) = filmed([0])
    impossible = frame.encoded.description._replace(width=10**9)
    desk.record([frame._replace(encoded=frame.encoded._replace(description=impossible))] * 8, bad)
    desk.record([*filmed(times(8))])
    desk.recorder.stop()
    assert [type(event) for event in desk.events if event.client_id == bad] == [RecordingEnded]
    (path,) = desk.paths()
    assert len(read_back(path).pictures) == 8


CHILD = """
import sys, time
from pathlib import Path
from tests.loopback.recordings import CLIENT, EPOCH_US, filmed, in_order, times, tone
from udpconf.frames import OpusFrame
from udpconf.media.recorder import Recorder, RecordingEnded

def say(line):  # in one piece, from two threads
    sys.stdout.write(line + "\\n")
    sys.stdout.flush()

def tell(event):
    say(f"ended {event.reason}" if isinstance(event, RecordingEnded) else "started")

recorder = Recorder(Path(sys.argv[1]), tell, reserve_bytes=0)
recorder.open(CLIENT, "doomed")
sound_end_us = int(sys.argv[3])
media = in_order(filmed(times(int(sys.argv[2]))), tone(440, 0, sound_end_us) if sound_end_us else [])
start = time.monotonic_ns() // 1000
for item in media:
    sound = isinstance(item, OpusFrame)
    at_us = (item.capture_us if sound else item.encoded.capture_us) - EPOCH_US
    time.sleep(max(0, start + at_us - time.monotonic_ns() // 1000) / 1e6)
    (recorder.write_audio if sound else recorder.write_video)(CLIENT, item)
    say(f"written {'sound' if sound else 'pictures'} {at_us}")
if len(sys.argv) == 5:
    recorder.stop()
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("pictures", "sound_ends_us"),
    [(120, 4 * SECOND), (120, 1 * SECOND), (120, 0), (0, 4 * SECOND)],
    ids=["both", "sound that has stopped", "pictures alone", "sound alone"],
)
def test_after_kill_9_the_file_plays_to_within_a_second(
    tmp_path: Path, pictures: int, sound_ends_us: int
) -> None:
    arguments = [str(tmp_path), str(pictures), str(sound_ends_us)]
    child = subprocess.Popen([sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    written_us = {"pictures": 0, "sound": 0}
    with child.stdout:
        for line in child.stdout:
            if line.startswith("written"):
                _, kind, at_us = line.split()
                written_us[kind] = int(at_us)
            if max(written_us.values()) >= 2800 * MS:
                break
        child.send_signal(signal.SIGKILL)
        child.wait(PATIENCE_S)
    (path,) = tmp_path.iterdir()
    found = read_back(path)
    if pictures:
        assert written_us["pictures"] - found.video_us[-1] < 1 * SECOND
        assert len(found.pictures) == len(found.video_us) == found.video_us[-1] // (33 * MS) + 1
    if sound_ends_us:
        assert written_us["sound"] - int(found.pcm_us[-1]) < 1 * SECOND
        assert abs(frequency(found.pcm[4800:28_800]) - 440) <= 2


def test_a_write_error_ends_the_recording_and_nothing_else(tmp_path: Path) -> None:
    """The kernel refuses to let any file of the child grow beyond 100 KB."""
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n" + CHILD
    child = subprocess.Popen(
        [sys.executable, "-B", "-c", limited, str(tmp_path), "60", str(2 * SECOND), "stop"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    ended = []
    with child.stdout:
        for line in child.stdout:
            if line.startswith("ended"):
                ended.append(line)
            if line.startswith(f"written pictures {59 * 33 * MS}"):
                break
        assert child.poll() is None
        child.kill()
        child.wait(PATIENCE_S)
    assert len(ended) == 1
    assert "File too large" in ended[0]
    (path,) = tmp_path.iterdir()
    assert len(read_back(path).pictures) > 5
