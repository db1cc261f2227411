"""netem/apply: with a `tc` that only remembers what it was told, and with a real interface in a namespace.

The latter needs root: where there is none, each of these tests asserts that it says so.
"""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.loopback.waiting import wait_until
from udpconf.emulation.netem_commands import netem_plan
from udpconf.emulation.scenario import ScenarioError, load_scenario, scenario_names

APPLY = Path(__file__).parent.parent.parent / "netem" / "apply"
USAGE = 2
CONFIGURATION = 3
UNAVAILABLE = 4
STAYS = "loss-5"
CHANGES = textwrap.dedent("""
    title = "Two steps a tenth of a second"
    source = "made for this test"
    [link]
    delay = "20ms"
    [[step]]
    at = "50ms"
    loss = "7%"
    [schedule]
    repeat = "100ms"
""")
# Keeps the root qdisc as `tc qdisc show` prints it in a file, and what it was asked in another. $HOME is the test's own.
FAKE_TC = """#!/bin/sh
echo "$*" >> "$HOME/asked"
read -r root < "$HOME/root"
case "$2" in
show) printf 'qdisc %s root refcnt 2\\nqdisc fq_codel 0: parent :1\\n' "$root" ;;
add | change)
    if [ -e "$HOME/no-netem" ]; then
        echo 'Error: Specified qdisc kind is unknown.' >&2
        exit 2
    fi
    if [ "$2" = change ] && [ "$root" != "$8 $7" ]; then
        echo 'Error: Qdisc not found. To create specify NLM_F_CREATE flag.' >&2
        exit 2
    fi
    [ "$2" = change ] || echo "$8 $7" > "$HOME/root"
    ;;
del) echo 'noqueue 0:' > "$HOME/root" ;;
esac
"""


class Kernel:
    """The interface eth0 of a machine that knows netem, and a root who runs netem/apply on it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.be("noqueue 0:")
        (home / "changes.toml").write_text(CHANGES)
        programs = home / "bin"
        programs.mkdir()
        for name, text in (
            ("tc", FAKE_TC),
            ("ip", "#!/bin/sh\n[ $4 = eth0 ]\n"),
            ("id", "#!/bin/sh\necho 0\n"),
        ):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        python = Path(sys.executable).parent
        self.environment = {
            **os.environ,
            "HOME": str(home),
            "PATH": f"{programs}:{python}:{os.environ['PATH']}",
        }

    def be(self, root: str) -> None:
        (self.home / "root").write_text(root + "\n")

    @property
    def root(self) -> str:
        return (self.home / "root").read_text().strip()

    @property
    def asked(self) -> list[str]:
        """The commands that change something, without what they have in common."""
        lines = (self.home / "asked").read_text().splitlines()
        return [line.removeprefix("qdisc ") for line in lines if " show " not in line]

    def apply(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [APPLY, *arguments], env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [APPLY, *arguments],
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that was said."""
    (line,) = done.stderr.splitlines()
    assert line.startswith("apply: ")
    return line.removeprefix("apply: ")


def group_is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_scenario_that_does_not_change_stays_until_it_is_cleared(kernel: Kernel) -> None:
    put = kernel.apply(STAYS, "eth0")
    assert put.returncode == 0
    assert sentence(put) == "loss-5 (up) is on eth0 until netem/apply --clear eth0"
    assert kernel.root.startswith("netem c")
    handle = kernel.root.split()[1]
    assert kernel.asked == [f"add dev eth0 root handle {handle} netem limit 100000 delay 20ms loss random 5%"]
    assert sentence(kernel.apply("--clear", "eth0")) == "eth0 is as it was"
    assert kernel.root == "noqueue 0:"
    again = kernel.apply("--clear", "eth0")
    assert again.returncode == 0
    assert sentence(again) == "nothing to take off eth0"


def test_a_scenario_replaces_our_own_one_before(kernel: Kernel) -> None:
    kernel.be("netem c0de:")
    assert kernel.apply("--direction", "down", "asymmetric-loss", "eth0").returncode == 0
    removed, added = kernel.asked
    assert removed == "del dev eth0 root"
    assert added.endswith("loss random 15%")


def test_a_scenario_that_changes_is_played_until_sigterm_and_leaves_nothing(kernel: Kernel) -> None:
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)):
        (kernel.home / "asked").write_text("")
        playing = kernel.start(str(kernel.home / "changes.toml"), "eth0")
        wait_until(lambda: len(kernel.asked) >= 6)
        os.killpg(playing.pid, number)  # as a terminal does
        playing.communicate(timeout=20)
        assert playing.returncode == code
        assert kernel.root == "noqueue 0:"
        assert kernel.asked[-1] == "del dev eth0 root"
        ends = [line.partition(" delay 20ms")[2] for line in kernel.asked[:-1]]
        # The first step is on from the beginning, then they take turns.
        turns = ["", " loss random 7%"] * len(ends)
        assert ends == ["", *turns[: len(ends) - 1]]
        wait_until(partial(group_is_gone, playing.pid))  # no sleeper, no tc


def test_who_is_replaced_while_playing_says_so_and_leaves_the_other_alone(kernel: Kernel) -> None:
    playing = kernel.start(str(kernel.home / "changes.toml"), "eth0")
    wait_until(lambda: kernel.root.startswith("netem c"))
    kernel.be("netem cabc:")
    _, said = playing.communicate(timeout=20)
    assert playing.returncode == UNAVAILABLE
    assert said.splitlines()[-1] == "apply: somebody else took the scenario off eth0"
    assert kernel.root == "netem cabc:"


def test_a_queue_that_somebody_else_put_there_is_left_alone(kernel: Kernel) -> None:
    for foreign in ("htb 1:", "netem 8001:", "fq_codel 8002:"):
        kernel.be(foreign)
        for arguments in ((STAYS, "eth0"), ("--clear", "eth0")):
            refused = kernel.apply(*arguments)
            assert refused.returncode == UNAVAILABLE
            kind, handle = foreign.split()
            assert f"a queue that we did not put there ({kind}, handle {handle})" in sentence(refused)
            assert kernel.root == foreign


def test_the_kernels_own_queue_is_replaced(kernel: Kernel) -> None:
    for own in ("noqueue 0:", "fq_codel 0:", "mq 0:", "pfifo_fast 0:", "fq 0:"):
        kernel.be(own)
        assert kernel.apply(STAYS, "eth0").returncode == 0
        assert kernel.root.startswith("netem c")


def test_a_kernel_without_netem_is_a_sentence_that_knows_a_way_out(kernel: Kernel) -> None:
    (kernel.home / "no-netem").touch()
    for scenario in (STAYS, "outage"):
        refused = kernel.apply(scenario, "eth0")
        assert refused.returncode == UNAVAILABLE
        assert "this kernel has no netem" in sentence(refused)
        assert "netem/lab-net" in sentence(refused)
        assert kernel.root == "noqueue 0:"


def test_what_netem_does_otherwise_is_said_when_it_is_put_on(kernel: Kernel) -> None:
    put = kernel.apply("dsl", "eth0")
    assert "apply: netem's queue is counted in packets" in put.stderr


def test_print_needs_no_root_no_interface_and_no_netem() -> None:
    printed = run(APPLY, "--print", "outage", "nowhere0")
    assert printed.returncode == 0
    assert printed.stdout.splitlines() == [
        "tc qdisc add dev nowhere0 root handle c000: netem limit 100000 delay 20ms",
        "# 4.000 s after the start",
        "tc qdisc change dev nowhere0 root handle c000: netem limit 100000 delay 20ms loss random 100%",
        "# 6.000 s after the start",
        "tc qdisc change dev nowhere0 root handle c000: netem limit 100000 delay 20ms",
        "# 20.000 s after the start it begins anew",
        "# to take it off: tc qdisc del dev nowhere0 root",
    ]
    refused = run(APPLY, "--print", "cellular-trace", "nowhere0")
    assert refused.returncode == CONFIGURATION
    assert "which tc netem cannot do" in sentence(refused)


def test_an_old_python_is_a_sentence_and_the_code_of_a_machine_that_cannot(kernel: Kernel) -> None:
    old = kernel.home / "bin" / "python3"
    old.write_text(
        f'#!/bin/sh\n[ "$1" = -B ] && shift\ncode=$2\nshift 2\n'
        f'exec {sys.executable} -B -c "import sys; sys.version_info = (3, 9, 2); $code" "$@"\n'
    )
    old.chmod(0o755)
    refused = kernel.apply(STAYS, "eth0")
    assert refused.returncode == UNAVAILABLE
    assert "this python3 is 3.9" in sentence(refused)


def test_mistakes_in_the_command_line_are_a_sentence_each(kernel: Kernel) -> None:
    for arguments in (
        (),
        (STAYS,),
        (STAYS, "eth0", "eth1"),
        ("--clear",),
        ("--direction", "sideways", STAYS, "eth0"),
        ("--direction",),
        ("--nonsense", STAYS, "eth0"),
    ):
        refused = kernel.apply(*arguments)
        assert refused.returncode == USAGE, arguments
        assert sentence(refused)
    assert kernel.root == "noqueue 0:"


def test_a_wrong_scenario_and_a_wrong_interface_have_codes_of_their_own(kernel: Kernel) -> None:
    for arguments, code in (
        (("no-such-scenario", "eth0"), CONFIGURATION),
        (("no/such.toml", "eth0"), CONFIGURATION),
        (("cellular-trace", "eth0"), CONFIGURATION),
        ((STAYS, "eth9"), UNAVAILABLE),
        (("--clear", "eth9"), UNAVAILABLE),
    ):
        refused = kernel.apply(*arguments)
        assert refused.returncode == code, arguments
        assert sentence(refused)
    assert kernel.root == "noqueue 0:"


def test_help_names_the_exit_codes(kernel: Kernel) -> None:
    shown = kernel.apply("--help")
    assert shown.returncode == 0
    assert "4 no root" in shown.stdout


# --- the real thing -------------------------------------------------------------------------------------------------


@pytest.fixture
def inside() -> Iterator[list[str] | None]:
    """What to put before a command to run it beside an interface called veth0 in a namespace; None without root."""
    if os.geteuid() != 0:
        yield None
        return
    name = f"udpconf-apply-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        before = ["ip", "netns", "exec", name]
        subprocess.run(
            [*before, "ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1"], check=True
        )
        yield before
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def test_without_root_it_says_that_it_needs_it() -> None:
    lower = ["setpriv", "--reuid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    for arguments in ((STAYS, "lo"), ("--clear", "lo")):
        refused = run(*lower, APPLY, *arguments)
        assert refused.returncode == UNAVAILABLE
        assert "needs root" in sentence(refused)


def test_a_real_interface_gets_the_scenario_or_we_say_that_the_kernel_cannot(
    inside: list[str] | None,
) -> None:
    if inside is None:
        return
    before = run(*inside, "tc", "qdisc", "show", "dev", "veth0").stdout
    put = run(*inside, APPLY, STAYS, "veth0")
    if put.returncode == UNAVAILABLE:
        assert "this kernel has no netem" in put.stderr
        assert run(*inside, "tc", "qdisc", "show", "dev", "veth0").stdout == before
    else:
        assert put.returncode == 0, put.stderr
        assert "loss 5%" in run(*inside, "tc", "qdisc", "show", "dev", "veth0").stdout
        assert run(*inside, APPLY, "--clear", "veth0").returncode == 0
        assert run(*inside, "tc", "qdisc", "show", "dev", "veth0").stdout == before
    assert sentence(run(*inside, APPLY, "--clear", "veth0")) == "nothing to take off veth0"
    unknown = run(*inside, APPLY, STAYS, "veth9")
    assert unknown.returncode == UNAVAILABLE
    assert "no network interface called veth9" in sentence(unknown)


def test_every_command_is_one_that_tc_understands(inside: list[str] | None) -> None:
    if inside is None:
        return
    for name in scenario_names():
        for direction in ("up", "down"):
            try:
                plan = netem_plan(load_scenario(name), direction)
            except ScenarioError:
                continue  # a trace
            for step in plan.steps:
                # Each as the first one, so that it reaches the kernel also where that has no netem.
                done = run(*inside, "tc", "qdisc", "replace", "dev", "veth0", "root", *step.arguments.split())
                assert done.returncode == 0 or "qdisc kind is unknown" in done.stderr, (step, done.stderr)


@pytest.mark.parametrize("flags", [("--print", "--clear"), ("--clear", "--print")])
def test_print_and_clear_exclude_each_other(flags: tuple[str, str]) -> None:
    done = run(APPLY, *flags, "eth0")
    assert done.returncode == 2
    assert "exclude each other" in sentence(done)
