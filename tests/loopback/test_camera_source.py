"""A camera that is unplugged, hangs or is not there. The camera is made up; the threads and the time are real."""

import logging
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from tests.loopback.collector import Collector
from tests.loopback.waiting import PATIENCE_S
from udpconf.errors import DeviceError, LocalProtocolError
from udpconf.limits import MS, SECOND
from udpconf.media.sources.camera import _LOOKS, HANG_US, CameraSource, CaptureDevice

Grab = Callable[[int], bool]


class FakeCamera:
    """A camera whose n-th grab does what ``grab(n)`` does; its pictures carry ``shade``."""

    def __init__(self, grab: Grab, shade: int = 0, size: tuple[int, int] = (64, 48)) -> None:
        self.released = threading.Event()
        self._grab = grab
        self._count = 0
        self._image = np.full((size[1], size[0], 3), shade, np.uint8)

    def grab(self) -> bool:
        self._count += 1
        return self._grab(self._count)

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, self._image.copy()

    def release(self) -> None:
        self.released.set()


class Bench:
    """Hands out cameras one after the other; None stands for a camera that is not there."""

    def __init__(self, *cameras: CaptureDevice | None) -> None:
        self.opens = 0
        self._cameras = list(cameras)

    def open(self, index: int) -> CaptureDevice | None:
        assert index == 7
        self.opens += 1
        return self._cameras.pop(0) if self._cameras else None


def source(bench: Bench, width: int | None = None, fps: float = 1000) -> CameraSource:
    return CameraSource(
        7, width, fps, open_capture=bench.open, hang_us=200 * MS, reopen_us=20 * MS, open_us=400 * MS
    )


def at_pace(number: int) -> bool:
    threading.Event().wait(0.005)
    return True


def shades(taken: Collector) -> set[int]:
    return {int(image[0, 0, 0]) for image, _ in taken.pictures}


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a hanging call waits for; opened at the end, so that no thread stays behind."""
    event = threading.Event()
    yield event
    event.set()


def test_the_real_watchdog_notices_within_two_seconds() -> None:
    assert HANG_US + HANG_US // _LOOKS <= 2 * SECOND


def test_pictures_come_with_growing_capture_times_until_stop() -> None:
    camera = FakeCamera(at_pace, 9)
    bench = Bench(camera)
    with Collector(source(bench)) as taken:
        taken.wait_for_pictures(10)
        assert not taken.source.ended.is_set()
    times = [capture_us for _, capture_us in taken.pictures]
    assert times == sorted(set(times))
    assert camera.released.wait(PATIENCE_S)
    assert bench.opens == 1
    assert taken.source.ended.is_set()
    assert taken.source.error is None


def test_wide_pictures_are_made_smaller_and_small_ones_stay() -> None:
    for width, shape in ((32, (24, 32, 3)), (640, (48, 64, 3)), (None, (48, 64, 3))):
        with Collector(source(Bench(FakeCamera(at_pace)), width)) as taken:
            taken.wait_for_pictures(1)
        assert taken.pictures[0][0].shape == shape


def test_pictures_faster_than_asked_for_are_left_out() -> None:
    grabs = 0

    def grab(number: int) -> bool:
        nonlocal grabs
        grabs = number
        return at_pace(number)

    with Collector(source(Bench(FakeCamera(grab)), fps=20)) as taken:
        taken.wait_for_pictures(6)
    assert grabs > 12
    gaps = np.diff([capture_us for _, capture_us in taken.pictures])
    assert min(gaps) >= 35 * MS


def test_a_camera_that_does_not_exist_is_told_with_the_remedy() -> None:
    bench = Bench(None)
    with pytest.raises(DeviceError, match=r"Camera 7 does not open.*udpconf devices.*--test-pattern"):
        source(bench).start(lambda image, capture_us: None, None)
    assert bench.opens == 1


def test_a_camera_whose_opening_hangs_or_fails_is_told_likewise(gate: threading.Event) -> None:
    late = FakeCamera(at_pace)

    def hang(index: int) -> CaptureDevice:
        gate.wait(PATIENCE_S)
        return late

    hanging = CameraSource(7, open_capture=hang, open_us=50 * MS)
    with pytest.raises(DeviceError, match="does not open"):
        hanging.start(lambda image, capture_us: pytest.fail("a picture after all"), None)
    gate.set()
    assert late.released.wait(PATIENCE_S)  # it lets go of what it got too late

    def fail(index: int) -> CaptureDevice:
        raise OSError("driver error")

    with pytest.raises(DeviceError, match="does not open"):
        CameraSource(7, open_capture=fail).start(lambda image, capture_us: None, None)


def test_an_unplugged_camera_is_opened_again_when_it_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    unplugged = FakeCamera(lambda number: at_pace(number) and number < 5, 1)
    back = FakeCamera(at_pace, 2)
    bench = Bench(unplugged, None, None, back)
    with caplog.at_level(logging.WARNING), Collector(source(bench)) as taken:
        taken.wait(lambda: 2 in shades(taken))
        assert taken.source.error is None
    assert shades(taken) == {1, 2}
    assert unplugged.released.is_set()
    assert bench.opens == 4
    assert [record.getMessage() for record in caplog.records] == [
        "camera 7 is gone; trying to open it again every 0 s",
        "camera 7 is back",
    ]


def test_a_hanging_camera_is_abandoned_and_opened_anew(
    gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    def hang(number: int) -> bool:
        if number > 3:
            gate.wait(PATIENCE_S)
        return at_pace(number)

    hanging, back = FakeCamera(hang, 1), FakeCamera(at_pace, 2)
    with caplog.at_level(logging.WARNING), Collector(source(Bench(hanging, back))) as taken:
        taken.wait(lambda: 2 in shades(taken))
        count = sum(int(image[0, 0, 0]) == 1 for image, _ in taken.pictures)
        gate.set()  # the driver comes to itself: what it brings is too late, and it lets go
        assert hanging.released.wait(PATIENCE_S)
        seen = len(taken.pictures)
        taken.wait_for_pictures(seen + 3)
    assert sum(int(image[0, 0, 0]) == 1 for image, _ in taken.pictures) == count == 3
    assert len(caplog.records) == 2
    assert "has brought nothing for 0." in caplog.records[0].getMessage()
    assert caplog.records[1].getMessage() == "camera 7 is back"


def test_a_camera_that_never_brings_its_first_picture_is_lost_too(gate: threading.Event) -> None:
    silent, back = FakeCamera(lambda number: gate.wait(PATIENCE_S), 1), FakeCamera(at_pace, 2)
    camera = source(Bench(silent, back))
    with Collector(camera) as taken:
        taken.wait(lambda: 2 in shades(taken))
    assert shades(taken) == {2}
    assert camera.times_lost == 1


def test_a_driver_that_hangs_again_and_again_collects_few_threads(gate: threading.Event) -> None:
    def hang(number: int) -> bool:
        return gate.wait(PATIENCE_S)

    class Endless(Bench):
        def open(self, index: int) -> CaptureDevice | None:
            self.opens += 1
            return FakeCamera(hang)

    bench = Endless()
    camera = CameraSource(7, open_capture=bench.open, hang_us=20 * MS, reopen_us=1 * MS, open_us=20 * MS)
    with Collector(camera) as taken:
        waited = threading.Event()
        waited.wait(1.0)
        assert 2 <= bench.opens <= 5
        gate.set()
        assert not taken.pictures
    camera.stop()


def test_who_takes_pictures_slowly_does_not_make_the_camera_look_hung() -> None:
    bench = Bench(FakeCamera(at_pace))
    taken = Collector(source(bench))

    def slowly(image: np.ndarray, capture_us: int) -> None:
        threading.Event().wait(0.5)  # longer than the watchdog's patience
        taken.on_picture(image, capture_us)

    taken.source.start(slowly, None)
    taken.wait_for_pictures(2)
    taken.source.stop()
    assert bench.opens == 1


def test_an_error_of_the_taker_ends_the_source_and_is_kept() -> None:
    def refuse(image: np.ndarray, capture_us: int) -> None:
        raise LocalProtocolError("This sender is closed.")

    camera = source(Bench(FakeCamera(at_pace)))
    camera.start(refuse, None)
    assert camera.ended.wait(PATIENCE_S)
    assert str(camera.error) == "This sender is closed."
    camera.stop()


def test_opencv_finds_no_camera_here_and_says_so() -> None:
    with pytest.raises(DeviceError, match="Camera 63 does not open"):
        CameraSource(63).start(lambda image, capture_us: None, None)
