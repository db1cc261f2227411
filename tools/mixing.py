"""What the sound of many clients costs the one who hears it: received, decoded and mixed, in shares of a core.

    .venv/bin/python tools/mixing.py --clients 16 --seconds 20
    .venv/bin/python tools/mixing.py --clients 16 --seconds 60 --virtual

Without --virtual another process has so many senders, and real datagrams come over loopback, encrypted; this one is the server.
They send speech that was encoded before, as they would on machines of their own: what encoding takes is the sender's (some 3 % of
a core each), and on the same few cores it makes everything else slower. With --encode they encode it, in four processes.

With --virtual only the sound thread's work is done, in virtual time: nothing else of the machine is in the figure, and
cProfile can be told to look (``python -m cProfile -s tottime tools/mixing.py --virtual``).
"""

import argparse
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import udpconf
from tools.lab.voices import Pcm, speech
from udpconf.app.audio_receive import AudioReceiver
from udpconf.app.connection import Connection
from udpconf.config import parse_target
from udpconf.limits import MS, SECOND
from udpconf.media.opus import FRAME_SAMPLES, OpusEncoder, OpusFramer
from udpconf.media.opus_decoder import OpusDecoder
from udpconf.net.clock import monotonic_us
from udpconf.proto.audio_jitter import FRAME_US
from udpconf.proto.audio_target import PLAY_US
from udpconf.proto.client import ClientEndpoint
from udpconf.proto.client_config import ClientConfig
from udpconf.proto.events import AudioReceived

PASSPHRASE = "a key for the lab only"
# Copies go along until 300 packets are known, buffers find their targets, caches warm up.
WARM_UP_S = 6.0
# Of the network, in virtual time: uniform, enough for the buffers to have something to do.
JITTER_US = 10 * MS
# Sixteen senders that encode in one interpreter wait for each other, and fall behind.
PROCESSES = 4
# Where nothing is lost.
BITRATE_BPS = 64_000
# Everybody says something else: each is so many frames ahead of the one before.
APART = 300
# A quiet room: nobody is truly silent (-60 dB of full scale).
NOISE = 30


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=16, help="how many send sound (default 16)")
    parser.add_argument("--seconds", type=float, default=20.0, help="that are measured (default 20)")
    parser.add_argument(
        "--virtual", action="store_true", help="the sound thread's work alone, in virtual time"
    )
    parser.add_argument("--encode", action="store_true", help="the senders encode what they send")
    parser.add_argument("--send-to", metavar="URL", help=argparse.SUPPRESS)  # we are one of the others
    arguments = parser.parse_args()
    if arguments.clients < 1 or arguments.seconds <= 0:
        parser.error("at least one client, and some time, are needed")
    if arguments.send_to is not None:
        (encode_and_send if arguments.encode else send)(arguments.send_to, arguments.clients)
    elif arguments.virtual:
        in_virtual_time(arguments.clients, arguments.seconds)
    else:
        over_loopback(arguments.clients, arguments.seconds, encode=arguments.encode)
    return 0


def over_loopback(clients: int, seconds: float, *, encode: bool) -> None:
    with udpconf.Server(
        "127.0.0.1", port=0, audio_ports=(5556, 5655 + clients), passphrase=PASSPHRASE, max_clients=clients
    ) as server:
        processes = PROCESSES if encode else 1
        shares_of = [len(range(first, clients, processes)) for first in range(processes)]
        command = [sys.executable, __file__, "--send-to", server.url, *(["--encode"] * encode), "--clients"]
        senders = [subprocess.Popen([*command, str(share)]) for share in shares_of if share]
        try:
            joined = sum(
                isinstance(event, udpconf.ClientJoined)
                for _, event in zip(range(clients), server.events(30), strict=False)
            )
            if joined < clients:
                sys.exit(f"mixing: only {joined} of {clients} senders have joined.")
            blocks = server.audio()
            hear(blocks, WARM_UP_S)
            before = thread_seconds()
            heard = hear(blocks, seconds)
            shares = {name: (total - before[name]) / seconds for name, total in thread_seconds().items()}
            stats = server.stats().values()
        finally:
            for sender in senders:
                sender.kill()
                sender.wait()
    concealed = sum(stat.audio_frames_concealed for stat in stats)
    print(f"{len(stats)} clients, {heard} blocks of 5 ms heard, {concealed} frames concealed since the start")
    for name, share in shares.items():
        print(f"  {name}: {share:.1%} of a core")
    print(f"together: {sum(shares.values()):.1%} of a core")


def said() -> Pcm:
    """A minute of speech in a quiet room, a whole number of frames."""
    try:
        pcm = speech().pcm
    except FileNotFoundError:
        sys.exit("mixing: there is no espeak-ng here: apt-get install espeak-ng.")
    noise = np.random.default_rng(1).normal(0, NOISE, len(pcm))
    noisy: Pcm = np.clip(pcm + noise, -32_768, 32_767).astype(np.int16)
    return noisy[: len(noisy) // FRAME_SAMPLES * FRAME_SAMPLES]


def hear(blocks: Iterable[object], seconds: float) -> int:
    """Take what is mixed for so long; returns how many blocks it were."""
    end = time.monotonic() + seconds
    return sum(1 for _ in itertools.takewhile(lambda _: time.monotonic() < end, blocks))


def thread_seconds() -> dict[str, float]:
    """Processor time of each thread so far, by its name (Linux)."""
    return {
        thread.name: int(Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()[0]) / 1e9
        for thread in threading.enumerate()
    }


def coded_speech() -> list[bytes]:
    """The same minute in frames of Opus."""
    return [data for data, _ in OpusFramer(OpusEncoder(BITRATE_BPS)).push(said(), 0)]


def send(url: str, clients: int) -> None:
    """Everybody says something else, until this process is killed."""
    coded = coded_speech()
    target = parse_target(url)
    connections = []
    for number in range(clients):
        config = ClientConfig(PASSPHRASE, name=f"voice {number}", video=False)
        connections.append(Connection(target.host, target.port, config))
        connections[-1].connect(timeout=10.0)
    for block, number, captured_us in turns(clients):
        data = coded[(block + number * APART) % len(coded)]

        def command(
            endpoint: ClientEndpoint, now_us: int, data: bytes = data, captured_us: int = captured_us
        ) -> None:
            endpoint.send_audio(now_us, data, captured_us)

        connections[number].post(command)


def encode_and_send(url: str, clients: int) -> None:
    """As ``send``, through the programming interface."""
    sound = said()
    senders = [
        udpconf.Sender(url, passphrase=PASSPHRASE, name=f"voice {n}", video=False) for n in range(clients)
    ]
    for block, number, captured_us in turns(clients):
        place = (block + number * APART) * FRAME_SAMPLES % len(sound)
        senders[number].send_audio(sound[place : place + FRAME_SAMPLES], captured_us)


def turns(clients: int) -> Iterator[tuple[int, int, int]]:
    """Whose frame is next, for ever: its number, the client's, and when it was captured, which has just ended.

    Spread over the 10 ms, as those of different machines are.
    """
    start_us = monotonic_us()
    for block in itertools.count():
        for number in range(clients):
            captured_us = start_us + block * FRAME_US + number * FRAME_US // clients
            time.sleep(max(0, captured_us + FRAME_US - monotonic_us()) / 1e6)
            yield block, number, captured_us


def in_virtual_time(clients: int, seconds: float) -> None:
    coded = coded_speech()
    receiver = AudioReceiver(clock=lambda: 0)
    heard = receiver.subscribe()
    for number in range(clients):
        receiver.add_client(str(number))
    random = np.random.default_rng(1)
    frames = round(seconds * SECOND) // FRAME_US
    arrivals = [
        (int(frame * FRAME_US + FRAME_US + random.integers(JITTER_US)), number, frame)
        for number in range(clients)
        for frame in range(frames)
    ]
    arrivals.sort()
    receiver.begin(0)
    waiting = iter(arrivals)
    arrival_us, number, frame = next(waiting)
    began = time.process_time()
    for now_us in range(0, frames * FRAME_US, PLAY_US):
        while arrival_us <= now_us:
            data = coded[(frame + number * APART) % len(coded)]
            receiver.handle(AudioReceived(str(number), frame, frame * FRAME_US, data, arrival_us, copy=False))
            arrival_us, number, frame = next(waiting, (sys.maxsize, 0, 0))
        receiver.turn(now_us)
        while heard.get(0) is not None:
            pass
    share = (time.process_time() - began) / seconds
    decoder = OpusDecoder()
    began = time.process_time()
    for frame in range(2_000):
        decoder.decode(coded[frame % len(coded)])
    decoding = (time.process_time() - began) / 2_000 * SECOND / FRAME_US * clients
    print(f"{clients} clients decoded and mixed: {share:.1%} of a core, of it decoding {decoding:.1%}")


if __name__ == "__main__":
    sys.exit(main())
