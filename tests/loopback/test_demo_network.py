"""The network of `udpconf demo`: the seed of the command line decides which datagrams it loses."""

import socket
from contextlib import ExitStack

from tests.loopback.program import run
from udpconf.cli.demo_network import SERVER_HOST, open_network
from udpconf.emulation.link import Fate, Link, LinkConditions
from udpconf.emulation.loss import loss_model
from udpconf.emulation.scenario import of_conditions

BAD = LinkConditions(loss=loss_model(0.3))
DATAGRAMS = 200


def passed(seed: str) -> list[int]:
    """Which of the datagrams come through a demo's network of this seed: those that the emulator lets pass."""
    with ExitStack() as stack:
        server, client = (
            stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2)
        )
        server.bind((SERVER_HOST, 0))
        server.settimeout(10)
        port = server.getsockname()[1]
        host = open_network(stack, of_conditions(BAD), seed, [port])
        link: Link[int] = Link(BAD, f"{seed}/up")
        expected = [number for number in range(DATAGRAMS) if link.send(0, number, 1).fate is Fate.PASSED]
        for number in range(DATAGRAMS):
            client.sendto(b"%d" % number, (host, port))
        assert [int(server.recv(100)) for _ in expected] == expected
        return expected


def test_the_network_decides_as_the_emulator_with_the_same_seed() -> None:
    first = passed("7")
    assert first == passed("7")
    assert first != passed("8")
    assert 0 < len(first) < DATAGRAMS


def test_a_seed_without_a_bad_network_is_usage() -> None:
    for more in ((), ("--loss", "0")):
        done = run("demo", "--seed", "7", *more)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert "--seed does nothing without --loss or --scenario" in " ".join(done.stderr.split())
