"""Choosing a device, saying what is missing, and knowing when sound was heard, all without a device."""

import itertools
import logging
import os
import sys
from pathlib import Path

import pytest

from udpconf.errors import DeviceError, MissingDependencyError
from udpconf.media import audio_devices
from udpconf.media.audio_devices import APT_PACKAGES, AudioDevice, choose, install_command, load_pyaudio
from udpconf.media.audio_stream import plausible_us
from udpconf.media.microphone import CREEP_US, LOST_US, CaptureClock

DEVICES = [
    AudioDevice(0, "HDA Intel: ALC (hw:0,0)", 2, 48_000, 8_000, is_default=False),
    AudioDevice(3, "USB Headset", 1, 44_100, 8_000, is_default=True),
    AudioDevice(4, "USB Headset Pro", 1, 44_100, 8_000, is_default=False),
]


@pytest.mark.parametrize(
    ("wanted", "index"), [(None, 3), (0, 0), ("4", 4), ("alc", 0), ("usb headset", 3), ("Pro", 4)]
)
def test_a_device_is_chosen_by_index_by_part_of_its_name_or_as_the_default(
    wanted: str | int | None, index: int
) -> None:
    assert choose(DEVICES, wanted, "microphone").index == index


@pytest.mark.parametrize("wanted", ["webcam", 7, "7"])
def test_a_device_that_does_not_exist_is_answered_with_what_there_is(wanted: str | int) -> None:
    with pytest.raises(
        DeviceError, match=r"^There is no microphone '(webcam|7)'; there are: 0 'HDA .* 3 'USB Headset'.*\.$"
    ):
        choose(DEVICES, wanted, "microphone")


def test_no_device_at_all_is_a_sentence() -> None:
    with pytest.raises(DeviceError, match=r"^No speaker was found: .*\(--speaker none\)\.$"):
        choose([], None, "speaker")
    with pytest.raises(DeviceError, match=r"no '99' either.*\(--mic none\)\.$"):
        choose([], "99", "microphone")


def test_the_first_device_serves_where_the_system_names_no_default() -> None:
    assert choose([DEVICES[0], DEVICES[2]], None, "microphone").index == 0


def test_without_pyaudio_the_message_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    with pytest.raises(MissingDependencyError) as caught:
        load_pyaudio()
    assert install_command() in str(caught.value)
    assert caught.value.exit_code == 8


def test_each_system_has_its_own_command() -> None:
    pip = f"{sys.executable} -m pip install 'udpconf[audio]'"
    assert install_command("linux") == f"sudo apt-get install portaudio19-dev gcc python3-dev && {pip}"
    assert install_command("darwin") == f"brew install portaudio && {pip}"
    assert install_command("win32") == pip


def test_the_readme_names_the_same_packages() -> None:
    assert f"`sudo apt-get install {APT_PACKAGES}`" in (Path(__file__).parents[2] / "README.md").read_text()


def test_the_chatter_of_c_libraries_goes_to_the_debug_log(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, audio_devices.__name__), audio_devices.quiet():
        os.write(2, b"ALSA lib pcm.c: Unknown PCM cards.pcm.front\n")
    os.write(2, b"a line of ours\n")
    assert capfd.readouterr().err == "a line of ours\n"
    assert "Unknown PCM" in caplog.text


def test_times_that_cannot_be_true_are_refused() -> None:
    assert plausible_us(0.0, 10_000) is None
    assert plausible_us(-1.0, 10_000) is None
    assert plausible_us(1795344435.6, 10_000) is None
    assert plausible_us(0.0002, 10_000) == 10_000
    assert plausible_us(0.03, 10_000) == 30_000


def test_blocks_that_come_in_pairs_are_stamped_ten_milliseconds_apart() -> None:
    clock = CaptureClock()
    stamps = [clock.stamp(20_000 * (index // 2) + 1_000 * (index % 2), 10_000) for index in range(100)]
    steps = [later - earlier for earlier, later in itertools.pairwise(stamps[2:])]
    assert all(abs(step - 10_000) <= CREEP_US for step in steps)
    # The second of a pair is on time, the first one is 9 ms late.
    assert abs(stamps[-1] - (20_000 * 49 + 1_000)) <= 2 * CREEP_US


def test_a_slow_sound_card_is_followed() -> None:
    clock = CaptureClock()
    stamps = [clock.stamp(index * 10_002, 10_000) for index in range(5_000)]
    assert abs(stamps[-1] - 4_999 * 10_002) <= CREEP_US


def test_lost_sound_makes_the_clock_start_anew() -> None:
    clock = CaptureClock()
    clock.stamp(0, 10_000)
    assert clock.stamp(10_000 + LOST_US - 1, 10_000) == 10_000 + CREEP_US
    assert clock.stamp(500_000, 10_000) == 500_000
