"""Names a person can read, files that nobody else can touch, and a disk that stays usable."""

import shutil
import stat
from collections import namedtuple
from pathlib import Path

import pytest

from udpconf.errors import ConfigError
from udpconf.limits import RECORDER_RESERVE_BYTES
from udpconf.media.recording_file import create_exclusively, prepare_directory, recording_name, slug

DiskUsage = namedtuple("DiskUsage", "total used free")  # noqa: PYI024 - as shutil's


def test_names_say_when_who_and_which_file_of_the_series() -> None:
    wall_us = 1_763_807_601_123_456
    assert (
        recording_name(wall_us, "0123456789abcdef", "Front Door", 1)
        == "20251122T103321Z-01234567-front-door.mkv"
    )
    assert (
        recording_name(wall_us, "0123456789abcdef", "Front Door", 3)
        == "20251122T103321Z-01234567-front-door-3.mkv"
    )


def test_slugs_keep_what_can_be_kept() -> None:
    assert slug("cam_1") == "cam_1"
    assert slug("Büro Süd") == "buro-sud"
    assert slug("../../x") == "x"
    assert slug("摄像头") == "client"
    assert slug("") == "client"
    assert slug("a" * 23 + " b") == "a" * 23
    assert slug("a" * 100) == "a" * 24


def test_a_recording_is_the_owners_alone(tmp_path: Path) -> None:
    with create_exclusively(tmp_path / "a.mkv"):
        assert stat.S_IMODE((tmp_path / "a.mkv").stat().st_mode) == 0o600


def test_nothing_that_exists_is_ever_written_to(tmp_path: Path) -> None:
    (tmp_path / "there.mkv").write_text("mine")
    (tmp_path / "link.mkv").symlink_to(tmp_path / "elsewhere")
    for name in ("there.mkv", "link.mkv"):
        with pytest.raises(FileExistsError):
            create_exclusively(tmp_path / name)
    assert (tmp_path / "there.mkv").read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(("spare", "enough"), [(-1, False), (0, True), (1, True)])
def test_recording_starts_only_above_the_reserve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spare: int, enough: bool
) -> None:
    free = RECORDER_RESERVE_BYTES + spare
    monkeypatch.setattr(shutil, "disk_usage", lambda path: DiskUsage(10**12, 10**12 - free, free))
    if enough:
        prepare_directory(tmp_path)
    else:
        with pytest.raises(ConfigError, match="512 MiB are kept free"):
            prepare_directory(tmp_path)


def test_the_directory_is_made(tmp_path: Path) -> None:
    prepare_directory(tmp_path / "a" / "b", reserve_bytes=0)
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_directory_that_cannot_be_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match=r"a file is in the way.*--record"):
            prepare_directory(path)
    with pytest.raises(ConfigError, match="--record"):
        prepare_directory(Path("/proc/udpconf"))
