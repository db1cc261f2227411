"""The sound of aiortc, a WebRTC in Python: one track over ICE, DTLS and SRTP between the two processes of a run.

Offer and answer go by a file in the folder of the run, not over the bad network: signalling is not what is measured. aiortc
hands out frames of 20 ms as its jitter buffer lets them go, with their time in the stream; what never comes is not made up.
"""

import asyncio
import contextlib
import fractions
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.lab.devices import Ended, now_us

Pcm = NDArray[np.int16]

RATE = 48_000
FRAME = 960
_LOOK_S = 0.05
# Until the other process has written its description.
_PATIENCE_S = 30


def send(pcm: Pcm, folder: Path, drain_s: float) -> int:
    """Say everything; returns when that began."""
    return asyncio.run(_send(pcm, folder, drain_s))


def receive(folder: Path) -> tuple[float, Pcm, NDArray[np.int64]]:
    """What was heard until SIGTERM.

    Returns:
        The share of the frames that never came; int16[n], all sound, silence in their place; int64[n], when each sample came.
    """
    frames: list[tuple[int, int, Pcm]] = []
    with contextlib.suppress(Ended):
        asyncio.run(_receive(folder, frames))
    if not frames:
        return 1.0, np.zeros(0, np.int16), np.zeros(0, np.int64)
    first = frames[0][0]
    length = max(place for place, _, _ in frames) + FRAME - first
    heard, heard_us = np.zeros(length, np.int16), np.zeros(length, np.int64)
    for place, came_us, pcm in frames:
        if place >= first:
            heard[place - first : place - first + FRAME] = pcm
            heard_us[place - first : place - first + FRAME] = came_us + np.arange(FRAME) * 1_000_000 // RATE
    missing = float(np.mean(heard_us == 0))
    # A gap is as late as what came before it.
    for place in range(0, length, FRAME):
        if heard_us[place] == 0:
            heard_us[place : place + FRAME] = heard_us[place - 1] + (np.arange(FRAME) + 1) * 1_000_000 // RATE
    return missing, heard, heard_us


async def _send(pcm: Pcm, folder: Path, drain_s: float) -> int:
    from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
    from av import AudioFrame

    connected, ended = asyncio.Event(), asyncio.Event()

    class Voice(MediaStreamTrack):  # type: ignore[misc, unused-ignore]
        kind = "audio"
        start_us = 0
        number = 0

        async def recv(self) -> AudioFrame:
            """20 ms, when a microphone would have them."""
            await connected.wait()
            if not self.start_us:
                self.start_us = now_us()
            place = self.number * FRAME
            if place + FRAME > len(pcm):
                ended.set()
                await asyncio.Event().wait()
            due_us = self.start_us + (place + FRAME) * 1_000_000 // RATE
            await asyncio.sleep(max(0, due_us - now_us()) / 1e6)
            frame = AudioFrame(format="s16", layout="mono", samples=FRAME)
            frame.planes[0].update(pcm[place : place + FRAME].tobytes())
            frame.sample_rate, frame.pts = RATE, place
            frame.time_base = fractions.Fraction(1, RATE)
            self.number += 1
            return frame

    voice = Voice()
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.addTrack(voice)

    @connection.on("connectionstatechange")  # type: ignore[untyped-decorator, unused-ignore]
    def changed() -> None:
        if connection.connectionState == "connected":
            connected.set()

    await connection.setLocalDescription(await connection.createOffer())
    _write(folder / "offer.json", connection.localDescription)
    answer = await _read(folder / "answer.json")
    await connection.setRemoteDescription(RTCSessionDescription(**answer))
    await ended.wait()
    await asyncio.sleep(drain_s)
    return voice.start_us


async def _receive(folder: Path, frames: list[tuple[int, int, Pcm]]) -> None:
    from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    tracks: asyncio.Queue[Any] = asyncio.Queue()
    connection.on("track", tracks.put_nowait)
    offer = await _read(folder / "offer.json")
    await connection.setRemoteDescription(RTCSessionDescription(**offer))
    await connection.setLocalDescription(await connection.createAnswer())
    _write(folder / "answer.json", connection.localDescription)
    track = await tracks.get()
    while True:
        frame = await track.recv()
        samples = frame.to_ndarray().reshape(frame.samples, -1)
        frames.append((frame.pts, now_us(), samples[:, 0].astype(np.int16)))


def _write(path: Path, description: Any) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"sdp": description.sdp, "type": description.type}))
    part.rename(path)


async def _read(path: Path) -> dict[str, str]:
    return await asyncio.to_thread(_wait_and_read, path)


def _wait_and_read(path: Path) -> dict[str, str]:
    begun = time.monotonic()
    while not path.exists() and time.monotonic() < begun + _PATIENCE_S:
        time.sleep(_LOOK_S)
    found: dict[str, str] = json.loads(path.read_text())
    return found
