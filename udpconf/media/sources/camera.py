"""A camera by its index, watched: one that is unplugged or hangs is noticed within two seconds and opened again.

A driver may block for ever in any call, so a thread of its own does all calls to one opened camera, and a watchdog looks
whether it comes back. A thread that does not is left behind: what it still brings is thrown away, and it lets go of its
camera when it can.
"""

import logging
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from udpconf.errors import DeviceError, UdpconfError
from udpconf.limits import MS, SECOND
from udpconf.media.native import cv2
from udpconf.media.picture import Picture
from udpconf.media.sources.source import OnPicture, OnSound, Source, fitted, monotonic_us

log = logging.getLogger(__name__)

# With the time between two looks, a camera that hangs is noticed within two seconds.
HANG_US = 1900 * MS
REOPEN_US = 1 * SECOND
# Opening, and then the first picture: a USB camera takes up to some seconds, on Windows most of ten.
OPEN_US = 10 * SECOND
_LOOKS = 20  # of the watchdog within HANG_US
# Threads left behind in a driver. With so many, none is added until one of them comes back.
_STUCK_MAX = 4
# A camera of 30 frames a second that was asked for 30 brings them with jitter: none of these may be left out.
_EARLY = 0.7


class CaptureDevice(Protocol):
    """The part of cv2.VideoCapture that is used; a test brings its own."""

    def grab(self) -> bool: ...
    def retrieve(self) -> tuple[bool, Picture]: ...
    def release(self) -> None: ...


# Opens a camera by its index, None when there is none.
OpenCapture = Callable[[int], CaptureDevice | None]


class CameraSource(Source):
    """Pictures of one camera. Never ends by itself: a camera that is lost is looked for until ``stop``."""

    def __init__(
        self,
        index: int = 0,
        width: int | None = None,
        fps: float = 30,
        *,
        open_capture: OpenCapture | None = None,
        hang_us: int = HANG_US,
        reopen_us: int = REOPEN_US,
        open_us: int = OPEN_US,
    ) -> None:
        """Name the camera; ``start`` opens it.

        Args:
            index: as OpenCV counts cameras; on Linux the number of /dev/videoN.
            width: pictures that are wider are made this wide, with the same aspect.
            fps: asked of the camera; what comes faster is left out.
            open_capture: opens a camera; cv2.VideoCapture unless a test knows better.
            hang_us: a camera silent for so long is given up.
            reopen_us: a lost camera is tried again so often.
            open_us: opening may take so long, and so may the first picture.
        """
        super().__init__()
        self._index = index
        self._width = width
        self._fps = fps
        self._open_capture = open_capture or (lambda number: open_camera(number, width, fps))
        self._hang_us, self._reopen_us, self._open_us = hang_us, reopen_us, open_us
        self._lost = False
        self.times_lost = 0

    @property
    def description(self) -> str:
        """For captions and logs."""
        return f"camera {self._index}"

    def _loops(self, on_picture: OnPicture | None, on_sound: OnSound | None) -> Sequence[Callable[[], None]]:
        if on_picture is None:
            return []
        reader = self._open(on_picture)
        reader.opened.wait(self._open_us / SECOND)
        if not reader.open:
            reader.abandon()
            raise DeviceError(self._why_not())
        return [lambda: self._watch(reader, on_picture)]

    def _watch(self, reader: "_Reader", on_picture: OnPicture) -> None:
        """The watchdog's thread."""
        left_behind: list[_Reader] = []
        while self._wait_until(monotonic_us() + self._hang_us // _LOOKS):
            silent_us = reader.silent_us()
            if not reader.gone and silent_us < (self._hang_us if reader.grabbed else self._open_us):
                continue
            if not self._lost:
                self._lost = True
                self.times_lost += 1
                log.warning(
                    "camera %d %s; trying to open it again every %.0f s",
                    self._index,
                    "is gone" if reader.gone else f"has brought nothing for {silent_us / SECOND:.1f} s",
                    self._reopen_us / SECOND,
                )
            reader.abandon()
            left_behind = [one for one in {*left_behind, reader} if one.thread.is_alive()]
            if not self._wait_until(reader.started_us + self._reopen_us):
                break
            if len(left_behind) < _STUCK_MAX:
                reader = self._open(on_picture)
        reader.abandon()
        reader.thread.join(self._hang_us / SECOND)

    def _open(self, on_picture: OnPicture) -> "_Reader":
        def deliver(image: Picture, capture_us: int) -> None:
            if self._lost:
                self._lost = False
                log.warning("camera %d is back", self._index)
            on_picture(fitted(image, self._width), capture_us)

        reader = _Reader(self._index, self._open_capture, self._fps, deliver, self._taker_failed)
        reader.thread.start()
        return reader

    def _taker_failed(self, error: Exception) -> None:
        if not isinstance(error, UdpconfError):
            error = DeviceError(f"Nobody takes the pictures of camera {self._index} any more: {error}.")
        self._fail(error)

    def _why_not(self) -> str:
        advice = (
            "`udpconf devices` lists what there is, --camera N chooses, and --test-pattern needs no camera."
        )
        if sys.platform.startswith("linux"):
            advice += (
                " If it is listed, another program may hold it (sudo fuser -v /dev/video*), or your user may not open it "
                "(sudo usermod -aG video $USER, then log in again)."
            )
        return f"Camera {self._index} does not open: there is none, or it is in use. {advice}"


class _Reader:
    """One opening of the camera, and the thread that reads it until it fails or is abandoned."""

    def __init__(
        self,
        index: int,
        open_capture: OpenCapture,
        fps: float,
        deliver: Callable[[Picture, int], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.started_us = monotonic_us()
        self.opened = threading.Event()  # opening has come to an end, this way or that
        self.open = False
        self.grabbed = False  # at least one picture has come
        self.gone = False  # the camera said that there is no more
        self.thread = threading.Thread(target=self._run, name=f"camera {index}", daemon=True)
        self._index = index
        self._open_capture = open_capture
        self._spacing_us = int(_EARLY * SECOND / fps)
        self._deliver = deliver
        self._failed = failed
        self._abandoned = False
        self._waiting_since_us: int | None = self.started_us  # None: the camera is not being waited for

    def silent_us(self) -> int:
        """For how long the camera has not come back from the call it is in. Who takes the picture may be as slow as he
        likes.
        """
        waiting_since_us = self._waiting_since_us
        return 0 if waiting_since_us is None else monotonic_us() - waiting_since_us

    def abandon(self) -> None:
        """Deliver nothing from now on. Does not wait for a call that hangs."""
        self._abandoned = True

    def _run(self) -> None:
        try:
            capture = self._open_capture(self._index)
        except Exception:
            log.exception("camera %d does not open", self._index)
            capture = None
        self.gone = capture is None
        self.open = capture is not None
        self.opened.set()
        if capture is None:
            return
        try:
            self._read(capture)
        finally:
            self.gone = True
            capture.release()

    def _read(self, capture: CaptureDevice) -> None:
        last_us = None
        while not self._abandoned:
            self._waiting_since_us = monotonic_us()
            if not capture.grab():
                return
            capture_us = monotonic_us()
            if last_us is not None and capture_us - last_us < self._spacing_us:
                continue
            good, image = capture.retrieve()
            if not good:
                return
            self._waiting_since_us = None
            last_us = capture_us
            self.grabbed = True
            if self._abandoned:
                return
            try:
                self._deliver(image, capture_us)
            except Exception as error:  # noqa: BLE001 - whoever takes pictures cannot any more; the source says so
                self._failed(error)
                return


def open_camera(index: int, width: int | None, fps: float) -> CaptureDevice | None:
    """Open a camera with OpenCV: MJPEG, because USB 2 carries no more than 10 raw pictures a second of 1280x720."""
    backend = cv2.CAP_V4L2 if sys.platform.startswith("linux") else cv2.CAP_ANY
    capture = cv2.VideoCapture(index, backend)
    if not capture.isOpened():
        capture.release()
        return None
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    if width is not None:
        # The camera takes the nearest size that it has.
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, width * 9 // 16)
    capture.set(cv2.CAP_PROP_FPS, fps)
    # One picture of the driver's queue, not four: each costs a frame's time of latency.
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return _OpenCvCamera(capture)


class _OpenCvCamera:
    def __init__(self, capture: cv2.VideoCapture) -> None:
        self._capture = capture

    def grab(self) -> bool:
        return self._capture.grab()

    def retrieve(self) -> tuple[bool, Picture]:
        good, image = self._capture.retrieve()
        return good, np.asarray(image, np.uint8)

    def release(self) -> None:
        self._capture.release()
