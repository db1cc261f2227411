"""Files in real time: every picture and sample at its time, whoever is slow, once or for ever."""

import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clips import write_clip
from tests.loopback.collector import Collector
from udpconf.errors import ConfigError
from udpconf.limits import MS, SECOND
from udpconf.media.sources import clip
from udpconf.media.sources.clip import ClipSource
from udpconf.media.sources.pattern import read_frame_number, tone


def numbers(taken: Collector) -> list[int]:
    read = [read_frame_number(image) for image, _ in taken.pictures]
    assert None not in read
    return [number for number in read if number is not None]


def test_a_clip_plays_once_in_step_and_ends(tmp_path: Path) -> None:
    source = ClipSource(write_clip(tmp_path / "clip.mkv", 1.0))
    assert source.has_picture
    assert source.has_sound
    assert source.description == "file clip.mkv"
    with Collector(source) as taken:
        taken.wait_until_ended()
    start_us = taken.pieces[0][1]
    shown = numbers(taken)
    assert shown == sorted(set(shown))
    assert len(shown) + source.pictures_skipped == 25
    for number, (_, capture_us) in zip(shown, taken.pictures, strict=True):
        assert abs(capture_us - start_us - number * 40 * MS) <= MS  # Matroska counts milliseconds
    assert (taken.pcm == tone(440, 0, 48_000)).all()
    assert source.error is None


def test_a_loop_goes_on_without_a_seam(tmp_path: Path) -> None:
    source = ClipSource(write_clip(tmp_path / "clip.mkv", 0.4), loop=True)
    with Collector(source) as taken:
        taken.wait(lambda: len(taken.pieces) >= 65 and len(taken.pictures) >= 22)
    round_us = 400 * MS
    start_us = taken.pieces[0][1]
    for number, (_, capture_us) in zip(numbers(taken), taken.pictures, strict=True):
        assert abs((capture_us - start_us) % round_us - number * 40 * MS) <= MS
    rounds = [(capture_us - start_us) // round_us for _, capture_us in taken.pictures]
    assert rounds == sorted(rounds)
    assert set(rounds) >= {0, 1, 2}
    pcm = taken.pcm
    once = tone(440, 0, 19_200)
    assert (pcm == np.tile(once, (len(pcm) // len(once) + 1, 1))[: len(pcm)]).all()
    assert source.error is None


def test_sound_of_another_rate_and_layout_is_resampled(tmp_path: Path) -> None:
    source = ClipSource(
        write_clip(tmp_path / "clip.mov", 1.0, channels=2, sample_rate=44_100, pictures=False)
    )
    assert not source.has_picture
    with Collector(source) as taken:
        taken.wait_until_ended()
    pcm = taken.pcm
    assert not taken.pictures
    assert pcm.shape[1] == 2
    assert len(pcm) == pytest.approx(48_000, abs=60)
    spectrum = np.abs(np.fft.rfft(pcm[:48_000, 0].astype(np.float64), 48_000)) / 24_000
    assert int(np.argmax(spectrum)) == 440
    assert 20 * np.log10(spectrum[440] / 32767) == pytest.approx(-20, abs=0.2)


def test_a_clip_without_sound_or_a_taker_for_it_plays_its_pictures(tmp_path: Path) -> None:
    silent = ClipSource(write_clip(tmp_path / "silent.mkv", 0.3, tone_hz=None))
    assert not silent.has_sound
    for source, sound in (
        (silent, True),
        (ClipSource(write_clip(tmp_path / "with.mkv", 0.3)), False),
    ):
        with Collector(source, sound=sound) as taken:
            taken.wait_until_ended()
        assert taken.pictures
        assert not taken.pieces


def test_sound_that_begins_late_begins_late(tmp_path: Path) -> None:
    source = ClipSource(write_clip(tmp_path / "clip.mkv", 0.6, sound_delay_s=0.25))
    with Collector(source) as taken:
        taken.wait_until_ended()
    assert taken.pieces[0][1] == taken.pictures[0][1]
    pcm = taken.pcm
    assert not pcm[:12_000].any()
    assert (pcm[12_000:] == tone(440, 0, len(pcm) - 12_000)).all()


def test_pictures_are_made_smaller_and_fewer_on_request(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mkv", 0.6, size=(640, 360), tone_hz=None)
    with Collector(ClipSource(path, width=320, fps=10)) as taken:
        taken.wait_until_ended()
    assert taken.pictures[0][0].shape == (180, 320, 3)
    assert len(taken.pictures) <= 8
    assert numbers(taken)[0] == 0
    assert all(image.flags.writeable and image.flags.c_contiguous for image, _ in taken.pictures)


def test_a_picture_that_lies_on_its_side_is_turned(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "phone.mp4", 0.2, size=(320, 160), tone_hz=None)
    data = bytearray(path.read_bytes())
    # ISO/IEC 14496-12, 8.3.2: in tkhd, the matrix comes 40 bytes after the version and flags; this one says 90 degrees
    # clockwise, as phones held upright write it.
    place = data.index(b"tkhd") + 4 + 40
    turned = (0, 0x10000, 0, -0x10000, 0, 0, 160 << 16, 0, 0x40000000)
    data[place : place + 36] = b"".join(value.to_bytes(4, signed=True) for value in turned)
    path.write_bytes(data)
    with Collector(ClipSource(path)) as taken:
        taken.wait_until_ended()
    image = taken.pictures[0][0]
    assert image.shape == (320, 160, 3)
    assert read_frame_number(np.ascontiguousarray(np.rot90(image))) == 0


def test_who_takes_pictures_slowly_gets_fewer_and_all_of_the_sound(tmp_path: Path) -> None:
    source = ClipSource(write_clip(tmp_path / "clip.mkv", 1.0))
    taken = Collector(source)
    shown: list[int | None] = []

    def slowly(image: np.ndarray, capture_us: int) -> None:
        shown.append(read_frame_number(image))
        threading.Event().wait(0.2)

    source.start(slowly, taken.on_sound)
    taken.wait_until_ended()
    assert 2 <= len(shown) <= 7
    assert source.pictures_skipped == 25 - len(shown)
    assert (taken.pcm == tone(440, 0, 48_000)).all()


def test_a_decoder_that_is_too_slow_leaves_out_pictures_and_the_sound_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    decode = clip._frames

    def slowly(packet: Any) -> list[Any]:
        if packet.stream.type == "video":
            threading.Event().wait(0.12)  # three times what there is
        return decode(packet)

    monkeypatch.setattr(clip, "_frames", slowly)
    source = ClipSource(write_clip(tmp_path / "clip.mkv", 3.0, size=(160, 90), gop=5))
    with caplog.at_level(logging.WARNING), Collector(source) as taken:
        taken.wait_until_ended()
    start_us = taken.pieces[0][1]
    shown = numbers(taken)
    assert shown == sorted(set(shown))
    times = [capture_us for _, capture_us in taken.pictures]
    assert times == sorted(set(times))
    for number, capture_us in zip(shown, times, strict=True):
        assert -MS <= capture_us - start_us - number * 40 * MS <= 2 * SECOND  # behind, but never far
    assert shown[-1] > 25  # and it does not stay where it was
    assert (taken.pcm == tone(440, 0, 3 * 48_000)).all()
    assert [record.getMessage() for record in caplog.records] == [
        "this machine cannot decode clip.mkv in real time, so pictures are left out; a smaller file would help"
    ]


def test_a_damaged_file_plays_what_can_be_played(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mkv", 0.6)
    data = bytearray(path.read_bytes())
    random = np.random.default_rng(4)
    for place in random.integers(2000, len(data), 300):
        data[place] = int(random.integers(0, 256))
    path.write_bytes(data)
    source = ClipSource(path)
    with Collector(source) as taken:
        taken.wait_until_ended()
    assert source.error is None
    assert taken.pictures


def test_a_truncated_file_plays_to_where_it_ends(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mkv", 0.6)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    source = ClipSource(path, loop=True)
    with Collector(source) as taken:
        taken.wait(lambda: 0 in numbers(taken)[1:])  # round again
    assert source.error is None


def test_what_cannot_be_played_is_told_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"There is no file .*absent\.mp4"):
        ClipSource(tmp_path / "absent.mp4")
    with pytest.raises(ConfigError, match="is a directory"):
        ClipSource(tmp_path)
    text = tmp_path / "notes.mp4"
    text.write_text("not a film\n" * 100)
    with pytest.raises(ConfigError, match=r"notes\.mp4 cannot be played"):
        ClipSource(text)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(ConfigError, match=r"empty\.mp4 cannot be played"):
        ClipSource(tmp_path / "empty.mp4")
    subtitles = tmp_path / "film.srt"
    subtitles.write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n")
    with pytest.raises(ConfigError, match="neither pictures nor sound"):
        ClipSource(subtitles)


def test_a_file_that_vanishes_while_it_is_open_is_an_error_of_the_source(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mkv", 0.2)
    source = ClipSource(path)
    path.unlink()
    with Collector(source) as taken:
        taken.wait_until_ended()
    assert isinstance(source.error, ConfigError)


def test_stop_ends_a_loop_at_once(tmp_path: Path) -> None:
    source = ClipSource(write_clip(tmp_path / "clip.mkv", 0.4), loop=True)
    with Collector(source) as taken:
        taken.wait_for_pictures(1)
    assert source.ended.is_set()
    assert not [thread for thread in threading.enumerate() if "source file" in thread.name]
