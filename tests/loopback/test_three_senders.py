"""Three senders at once on one server: each is recorded with its own picture and its own sound, and nobody else's."""

import signal
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.loopback.program import Program
from tests.loopback.pulse import amplitude_at, loudest
from tools.get_media import fetch
from udpconf.media.native import av, cv2
from udpconf.media.sources.pattern import read_frame_number

PATTERN_HZ = 700.0
BLUE_HZ = 1300.0
RATE = 48_000
SECONDS_TO_SEE = 3


@pytest.fixture(scope="module")
def film() -> Path:
    return fetch()


def make_blue_clip(path: Path, seconds: int = 2) -> None:
    """A blue picture with a tone of BLUE_HZ."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 320, 180, "yuv420p"
        sound = container.add_stream("aac", rate=RATE, layout="mono")
        blue = np.zeros((180, 320, 3), np.uint8)
        blue[:, :, 0] = 220
        for _ in range(25 * seconds):
            container.mux(video.encode(av.VideoFrame.from_ndarray(blue, format="bgr24")))
        times = np.arange(RATE * seconds) / RATE
        wave = (0.3 * np.sin(2 * np.pi * BLUE_HZ * times)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(wave[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate = RATE
        container.mux(sound.encode(frame))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))


def recorded(path: Path) -> tuple[list[NDArray[np.uint8]], NDArray[np.int16]]:
    """All pictures, and the sound as int16[n] at 48 kHz."""
    pictures: list[NDArray[np.uint8]] = []
    sound: list[NDArray[np.int16]] = []
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        for frame in container.decode():
            if isinstance(frame, av.VideoFrame):
                pictures.append(frame.to_ndarray(format="bgr24").astype(np.uint8))
            elif isinstance(frame, av.AudioFrame):
                sound.extend(piece.to_ndarray().reshape(-1) for piece in resampler.resample(frame))
    return pictures, np.concatenate(sound).astype(np.int16)


def middle(sound: NDArray[np.int16]) -> NDArray[np.int16]:
    """One second from the middle."""
    centre = len(sound) // 2
    return sound[centre - RATE // 2 : centre + RATE // 2]


def test_three_senders_are_kept_apart(film: Path, tmp_path: Path) -> None:
    blue_clip = tmp_path / "blue.mp4"
    make_blue_clip(blue_clip)
    records = tmp_path / "records"
    with Program(
        "serve", "--host", "127.0.0.1", "--port", "0", "--json", "--open", "--record", str(records)
    ) as server:
        url = server.event("listening")["url"]
        common = ("send", url, "--open", "--width", "320")
        with (
            Program(*common, "--name", "film", "--file", str(film), "--loop"),
            Program(*common, "--name", "pattern", "--test-pattern", "--tone", str(PATTERN_HZ)),
            Program(*common, "--name", "blue", "--file", str(blue_clip), "--loop"),
        ):
            while True:
                clients = server.event("stats")["clients"].values()
                if len(clients) == 3 and all(one["connected_s"] > SECONDS_TO_SEE for one in clients):
                    break
            assert {one["name"] for one in clients} == {"film", "pattern", "blue"}
            audio_ports = [one["audio_port"] for one in clients]
            assert len(set(audio_ports)) == 3
            assert all(5556 <= port <= 5655 for port in audio_ports)
            assert server.end(signal.SIGTERM) == 0

    files = {name: next(records.glob(f"*-{name}.mkv")) for name in ("film", "pattern", "blue")}
    assert len(list(records.glob("*.mkv"))) == 3

    pictures, sound = recorded(files["pattern"])
    assert abs(loudest(middle(sound))[0] - PATTERN_HZ) < 2
    assert amplitude_at(middle(sound), BLUE_HZ) < 30
    numbers = [read_frame_number(picture) for picture in pictures]
    assert None not in numbers
    assert numbers == sorted(number for number in numbers if number is not None)

    pictures, sound = recorded(files["blue"])
    assert abs(loudest(middle(sound))[0] - BLUE_HZ) < 2
    assert amplitude_at(middle(sound), PATTERN_HZ) < 30
    means = np.array([picture.mean(axis=(0, 1)) for picture in pictures])
    assert (means[:, 0] > 180).all()
    assert (means[:, 1:] < 40).all()

    pictures, sound = recorded(files["film"])
    assert np.abs(sound.astype(np.int32)).mean() > 20, "the film has music"
    assert amplitude_at(middle(sound), PATTERN_HZ) < 500
    original = film_frames(film, pictures[0].shape[1], pictures[0].shape[0])
    picture = pictures[len(pictures) // 2].astype(np.float32)
    nearest = min(float(np.abs(picture - frame).mean()) for frame in original)
    assert nearest < 12, "a picture of the recording is a picture of the film, but for the compression"


def film_frames(film: Path, width: int, height: int) -> list[NDArray[np.float32]]:
    with av.open(str(film)) as container:
        return [
            np.asarray(
                cv2.resize(frame.to_ndarray(format="bgr24"), (width, height), interpolation=cv2.INTER_AREA),
                np.float32,
            )
            for frame in container.decode(video=0)
        ]
