"""A proxy that leads to its own listening ports would pass a datagram round and round; it is told before it starts."""

import pytest

from tests.loopback.program import run
from udpconf.cli.place import leads_back


@pytest.mark.parametrize(
    ("listen", "to", "back"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.2", "127.0.0.1", False),
        ("localhost", "localhost", True),  # some machines look it up as ::1
        ("0.0.0.0", "127.0.0.1", True),
        ("0.0.0.0", "127.0.0.3", True),
        ("0.0.0.0", "192.0.2.77", False),
        ("127.0.0.1", "0.0.0.0", True),
        ("127.0.0.2", "0.0.0.0", False),
        ("0.0.0.0", "0.0.0.0", True),
        ("::1", "::1", True),
        ("::1", "127.0.0.1", False),
        ("::", "::1", True),
        ("::1", "::", True),
        ("::", "2001:db8::77", False),
        ("::", "127.0.0.1", True),
        ("0.0.0.0", "::1", False),
        ("127.0.0.1", "::ffff:127.0.0.1", True),
        ("::ffff:127.0.0.1", "127.0.0.1", True),
    ],
)
def test_an_address_is_known_under_all_its_names(listen: str, to: str, back: bool) -> None:
    assert leads_back(listen, to) is back


@pytest.mark.parametrize(
    ("listen", "to", "more", "words"),
    [
        ("127.0.0.1:45000", "127.0.0.1:46000", (), "UDP port 5556"),
        ("0.0.0.0:45000", "127.0.0.1:46000", (), "--audio-ports none"),
        ("127.0.0.1:45000", "127.0.0.1:5600", (), "UDP port 5600"),
        ("0.0.0.0:45000", "127.0.0.1:45000", ("--audio-ports", "none"), "UDP port 45000"),
        ("localhost:45000", "localhost:45000", (), "UDP port 45000"),
    ],
)
def test_a_proxy_that_leads_to_itself_does_not_start_and_says_what_to_do(
    listen: str, to: str, more: tuple[str, ...], words: str
) -> None:
    done = run("proxy", "--listen", listen, "--to", to, *more, "--loss", "2%", "--seconds", "1")
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    assert words in done.stderr
    assert "circle" in done.stderr
    assert "127.0.0.2" in done.stderr
    assert "Traceback" not in done.stderr


def test_on_one_address_with_another_port_it_starts_without_ports_for_the_sound() -> None:
    done = run(
        *("proxy", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:5000", "--audio-ports", "none"),
        *("--loss", "2%", "--seconds", "1"),
    )
    assert done.returncode == 0, done.stderr
