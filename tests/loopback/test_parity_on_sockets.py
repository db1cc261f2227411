"""Parity and repair between real sockets: they bring back what the path took, and the ceiling holds with them."""

import itertools
import time

import numpy as np

import udpconf
from tests.loopback.waiting import wait_until
from udpconf.emulation.link import LinkConditions
from udpconf.emulation.loss import Bernoulli
from udpconf.emulation.proxy import UdpProxy
from udpconf.emulation.scenario import of_conditions

PASSPHRASE = "what was lost comes back"
CEILING_KBPS = 1500
LOSSY = of_conditions(LinkConditions(loss=Bernoulli(0.1)), LinkConditions())


def test_what_the_path_took_comes_back_under_the_ceiling() -> None:
    noise = np.random.default_rng(3).integers(0, 256, (180, 320, 3), np.uint8)
    sent: list[tuple[float, int]] = []
    with (
        udpconf.Server("127.0.0.1", 0, passphrase=PASSPHRASE) as server,
        UdpProxy("127.0.0.1", {0: ("127.0.0.1", server.port)}, LOSSY) as proxy,
        udpconf.Sender(
            "127.0.0.1",
            proxy.ports[0],
            passphrase=PASSPHRASE,
            audio=False,
            max_bitrate_kbps=CEILING_KBPS,
            min_quality=5,
        ) as sender,
    ):
        start = time.monotonic()
        for number in range(120):
            time.sleep(max(0.0, start + number / 30 - time.monotonic()))
            sender.send_video(noise)
            stats = sender.stats()
            sent.append((time.monotonic(), stats.bytes_sent + 28 * stats.packets_sent))
        assert stats.parity_shards_sent + stats.repair_shards_sent > 0
        assert stats.frames_skipped_ceiling <= 12
        wait_until(lambda: any(seen.shards_recovered > 0 for seen in server.stats().values()))
    for (at_s, so_far), (until_s, then) in itertools.combinations(sent, 2):
        if until_s - at_s <= 1:
            assert (then - so_far) * 8 / 1000 <= CEILING_KBPS


def test_with_time_to_ask_what_the_path_took_is_asked_for() -> None:
    noise = np.random.default_rng(4).integers(0, 256, (180, 320, 3), np.uint8)
    with (
        udpconf.Server("127.0.0.1", 0, passphrase=PASSPHRASE, latency_ms=300) as server,
        UdpProxy("127.0.0.1", {0: ("127.0.0.1", server.port)}, LOSSY) as proxy,
        udpconf.Sender("127.0.0.1", proxy.ports[0], passphrase=PASSPHRASE, audio=False) as sender,
    ):
        for _number in range(90):
            sender.send_video(noise)
            time.sleep(1 / 30)
        wait_until(lambda: any(seen.shards_repaired > 0 for seen in server.stats().values()))
        (seen,) = server.stats().values()
        assert seen.repairs_asked > 0
        assert seen.frames_whole > seen.frames_with_holes
        assert sender.stats().repair_shards_sent > 0
