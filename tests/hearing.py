"""Encoded streams as whoever listens to the server hears them, in virtual time."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from udpconf.app.audio_receive import AudioReceiver
from udpconf.app.sound_block import SoundBlock
from udpconf.limits import MS, SECOND
from udpconf.proto.events import AudioReceived

Pcm = NDArray[np.int16]
Frames = list[tuple[bytes, int]]  # as OpusFramer makes them
# The encoder's look-ahead and some of the network; a frame's own length comes on top.
PATH_US = 4 * MS


def listen(
    clients: dict[str, Frames],
    of: str | None,
    lost: Collection[int] = (),
    frame_us: int = 10 * MS,
    receiver: AudioReceiver | None = None,
) -> list[SoundBlock]:
    """The blocks of one client, or of the mix, in two seconds of these streams."""
    receiver = receiver or AudioReceiver(clock=lambda: 0)
    queue = receiver.subscribe(of)
    arrivals: list[AudioReceived] = []
    for client_id, frames in clients.items():
        receiver.add_client(client_id)
        arrivals += [
            AudioReceived(client_id, number, capture_us, data, capture_us + frame_us + PATH_US, copy=False)
            for number, (data, capture_us) in enumerate(frames)
            if number not in lost
        ]
    arrivals.sort(key=lambda event: event.arrival_us, reverse=True)
    receiver.begin(0)
    blocks: list[SoundBlock] = []
    for now_us in range(0, 2 * SECOND, 5 * MS):
        while arrivals and arrivals[-1].arrival_us <= now_us:
            receiver.handle(arrivals.pop())
        receiver.turn(now_us)
        while (block := queue.get(0)) is not None:
            blocks.append(block)
    return blocks


def heard(clients: dict[str, Frames], of: str | None, lost: Collection[int] = ()) -> list[Pcm]:
    """Their sound alone."""
    return [block.pcm for block in listen(clients, of, lost)]
