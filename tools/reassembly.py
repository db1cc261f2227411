"""How many Mbit/s of shards one core takes in: opened, checked, put together, given out (no sockets, no decoding).

    .venv/bin/python tools/reassembly.py --frame-kb 50 --loss 2%

A client's endpoint makes the datagrams beforehand, real encryption included; a server's endpoint gets them one by one.
"""

import argparse
import os
import random
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from udpconf.emulation.units import parse_share
from udpconf.frames import Codec, EncodedFrame, FrameDescription, Segment, Subsampling
from udpconf.limits import MS, SECOND
from udpconf.proto.client import ClientEndpoint
from udpconf.proto.client_config import ClientConfig
from udpconf.proto.events import MAIN_PATH, Address, VideoFrameDue
from udpconf.proto.server import ServerEndpoint
from udpconf.proto.server_config import ServerConfig

PASSPHRASE = "five words make a key"
ADDRESS: Address = ("10.0.0.2", 40_000)
FPS = 30
# Far above what is measured: the ceiling and the path are not the question here.
CEILING_KBPS = 900_000


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frame-kb", type=int, default=50, help="compressed picture, kB (default 50)")
    parser.add_argument("--frames", type=int, default=300, help="pictures a run (default 300)")
    parser.add_argument(
        "--loss", type=parse_share, default=0.0, help="share of datagrams lost (default none)"
    )
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    rates = []
    for number in range(options.runs):
        mbit, seconds, whole = run(options.frame_kb * 1000, options.frames, options.loss, number)
        rates.append(mbit / seconds)
        print(
            f"run {number + 1}: {mbit:.0f} Mbit in {seconds:.2f} s of a core: {rates[-1]:.0f} Mbit/s, {whole} whole"
        )
    print(f"median: {statistics.median(rates):.0f} Mbit/s")
    return 0


def run(frame_bytes: int, frames: int, loss: float, seed: int) -> tuple[float, float, int]:
    """Mbit of datagrams that came, processor seconds they took, frames that came out whole."""
    rng = random.Random(seed)
    server = ServerEndpoint(ServerConfig(PASSPHRASE), 0, 0, os.urandom)
    client = ClientEndpoint(
        ClientConfig(PASSPHRASE, "bench", audio=False, max_bitrate_kbps=CEILING_KBPS), 0, 0, os.urandom
    )
    now_us = 0
    for _ in range(100):
        now_us += MS
        exchange(client, server, now_us)
    assert client.state == "connected"
    whole = taken = 0
    seconds = 0.0
    for frame_id in range(frames):
        client.send_frame(now_us, frame_id, picture(frame_bytes, now_us, rng))
        for tick in range(FPS):
            client.handle_timeout(now_us + tick * MS)
            datagrams = []
            while (transmit := client.poll_transmit()) is not None:
                if transmit.path == MAIN_PATH and rng.random() >= loss:
                    datagrams.append(transmit.data)
            at_us = now_us + tick * MS
            begun = time.process_time()
            for datagram in datagrams:
                server.handle_datagram(at_us, MAIN_PATH, ADDRESS, datagram)
                whole += drain(server, client, at_us)
            if (due_us := server.poll_timeout()) is not None and due_us <= at_us:
                server.handle_timeout(at_us)
                whole += drain(server, client, at_us)
            seconds += time.process_time() - begun
            taken += sum(map(len, datagrams))
        now_us += SECOND // FPS
    return taken * 8 / 1e6, seconds, whole


def exchange(client: ClientEndpoint, server: ServerEndpoint, now_us: int) -> None:
    client.handle_timeout(now_us)
    while (transmit := client.poll_transmit()) is not None:
        server.handle_datagram(now_us, MAIN_PATH, ADDRESS, transmit.data)
        drain(server, client, now_us)
    while client.poll_event() is not None:
        pass


def drain(server: ServerEndpoint, client: ClientEndpoint, now_us: int) -> int:
    """Hand on what the server has to say; returns how many whole frames fell due."""
    whole = 0
    while (event := server.poll_event()) is not None:
        whole += isinstance(event, VideoFrameDue) and event.frame.encoded.complete
    while (transmit := server.poll_transmit()) is not None:
        client.handle_datagram(now_us, MAIN_PATH, transmit.data)
    return whole


def picture(coded_bytes: int, capture_us: int, rng: random.Random) -> EncodedFrame:
    """Segments of a quarter of a datagram, as the encoder cuts them."""
    size = 330
    count = max(1, coded_bytes // size)
    data = rng.randbytes(size).replace(b"\xff", b"\xfe")
    description = FrameDescription(Codec.JPEG, 3840, 2160, 75, Subsampling.S420, max(1, 32_400 // count))
    segments = tuple(Segment(number, 1, data) for number in range(description.interval_count))
    return EncodedFrame(description, segments, capture_us)


if __name__ == "__main__":
    sys.exit(main())
