"""The address in the URL to join, where there is no default route to tell it. It needs root, as lab-net does."""

import signal
import subprocess

from tests.loopback.lab_net import PYTHON, lab, lab_works, python
from tests.loopback.program import TIMEOUT_S, clean_environment
from udpconf import config


def test_without_a_default_route_it_is_an_address_that_the_neighbour_can_use() -> None:
    if not lab_works():
        return
    for host in ("0.0.0.0", "::"):
        code = f"from udpconf.net.udp_socket import outward_host; print(outward_host({host!r}))"
        done = lab("-q", "--", "true", "--", *python(code))
        assert (done.returncode, done.stdout) == (0, "10.77.0.2\n"), done.stderr


def test_without_any_address_the_server_says_that_it_is_good_on_this_machine_alone() -> None:
    if not lab_works():
        return
    with subprocess.Popen(
        ["unshare", "-n", PYTHON, "-m", "udpconf", "serve", "--port", "0", "--speaker", "none"],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        url = server.stdout.readline().strip()
        said = []
        for line in server.stderr:
            said.append(line)
            if line.startswith("No window"):  # its last word before it waits
                break
        server.send_signal(signal.SIGTERM)
        assert server.wait(TIMEOUT_S) == 0, said
    assert config.parse_join_url(url).host == "127.0.0.1"
    assert "good on this machine alone" in "".join(said)
