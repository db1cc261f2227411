"""netem/lab-net: two programs in two network namespaces with a bad link between them (Linux, root)."""

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence

from udpconf.emulation.link import LinkCounters, flip_bit
from udpconf.emulation.link_options import add_link_options, scenario_list, scenario_of
from udpconf.emulation.namespaces import (
    LabUnavailableError,
    Namespace,
    check_possible,
    clear_stale,
    namespace,
)
from udpconf.emulation.real_time import monotonic_us, sharpen_timers
from udpconf.emulation.scenario import ScenarioError
from udpconf.emulation.scenario_link import ScenarioLink
from udpconf.emulation.tun_bridge import LATE_US, TunBridge

ADDRESS_A = "10.77.0.1"
ADDRESS_B = "10.77.0.2"

# As those of udpconf's verbs: wrong use, a wrong file, a machine that cannot do it.
EXIT_USAGE = 2
EXIT_CONFIGURATION = 3
EXIT_UNAVAILABLE = 4
EXIT_NO_SUCH_COMMAND = 127
# A shell's convention for a program ended by a signal.
EXIT_SIGNAL = 128

# After Ctrl-C the terminal has told the programs already; this long they may take to end by themselves.
AFTER_INTERRUPT_US = 2_000_000
# From SIGTERM to SIGKILL. A server says goodbye and closes its recordings in this time.
AFTER_TERMINATE_US = 5_000_000

LOG_BUFFER_BYTES = 1 << 20

DESCRIPTION = """\
Runs two programs on a bad network of their own: A at 10.77.0.1 and B at 10.77.0.2, told to both in the environment as
LAB_HERE and LAB_PEER. A is the server's side and starts first, B the client's. When B ends, A gets SIGTERM, and the exit
code is B's. If A ends first, B goes on. The terminal's input is B's.
"""
EPILOG = """\
Every condition holds in both directions unless --...-back gives another for the way back, from A to B.
Examples:
  netem/lab-net wifi-bursts -- udpconf serve --open -- udpconf send 10.77.0.1 --open --test-pattern
  netem/lab-net --delay 25ms --loss 2% --loss-back 0% -- udpconf serve --open -- udpconf send 10.77.0.1 --open --test-pattern
Exit codes: B's; 2 usage; 3 a scenario that is not there or not right, or a log that cannot be written; 4 no root, no TUN
device, no iproute2; 127 no such program; 130 Ctrl-C; 143 SIGTERM.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    own, command_a, command_b = split(list(sys.argv[1:] if arguments is None else arguments))
    options = parser().parse_args(own)
    try:
        if not command_a or not command_b:
            raise ValueError("two programs are needed: netem/lab-net [scenario] [options] -- A -- B")
        link: ScenarioLink[bytes] = ScenarioLink(scenario_of(options), options.seed, damage=flip_bit)
    except ValueError as error:
        say(str(error))
        return EXIT_CONFIGURATION if isinstance(error, ScenarioError) else EXIT_USAGE
    try:
        check_possible()
        for command in (command_a, command_b):
            if shutil.which(command[0]) is None:
                say(f"there is no program called {command[0]}")
                return EXIT_NO_SUCH_COMMAND
        with contextlib.ExitStack() as stack:
            log = None
            if options.log is not None:
                try:
                    log = stack.enter_context(open(options.log, "w", buffering=LOG_BUFFER_BYTES))  # noqa: PTH123
                except OSError as error:
                    say(f"the log {options.log} cannot be written: {error.strerror}")
                    return EXIT_CONFIGURATION
            signals = stack.enter_context(noted_signals())
            if stale := clear_stale():
                say(f"cleared what a killed run had left: {', '.join(stale)}")
            a = stack.enter_context(namespace("a", ADDRESS_A))
            b = stack.enter_context(namespace("b", ADDRESS_B))
            bridge = TunBridge(a.tun, b.tun, link, log)
            code = run_programs(bridge, signals, a, command_a, b, command_b)
    except (LabUnavailableError, OSError) as error:
        say(str(error))
        return EXIT_UNAVAILABLE
    if not options.quiet:
        say(summary(link, bridge))
    return code


def say(sentence: str) -> None:
    """To stderr; if nobody reads that any more, the programs' exit code still counts."""
    with contextlib.suppress(OSError):
        print(f"lab-net: {sentence}", file=sys.stderr)


def run_programs(
    bridge: TunBridge,
    signals: "Signals",
    a: Namespace,
    command_a: list[str],
    b: Namespace,
    command_b: list[str],
) -> int:
    """Start both, carry their packets until B has ended or a signal came, end the rest. Returns the exit code."""
    if signals.received is not None:
        return EXIT_SIGNAL + signals.received
    program_a = Program(a, b, command_a, subprocess.DEVNULL)
    program_b = Program(b, a, command_b, None)
    be_punctual()
    try:
        watched = [signals.descriptor, program_a.descriptor, program_b.descriptor]
        while program_b.process.poll() is None and signals.received is None:
            bridge.run(watched)
            if program_a.descriptor in watched and program_a.process.poll() is not None:
                watched.remove(program_a.descriptor)
                code = exit_code(program_a.process.returncode)
                if code != 0 and signals.received is None:
                    say(f"A has ended with code {code}; B goes on")
        programs = [program_b, program_a]
        if signals.received == signal.SIGINT:
            wait_for(bridge, programs, AFTER_INTERRUPT_US)
        for program in programs:
            if program.process.poll() is None:
                program.process.terminate()
        wait_for(bridge, programs, AFTER_TERMINATE_US)
        if signals.received is not None:
            return EXIT_SIGNAL + signals.received
        return exit_code(program_b.process.returncode)
    finally:
        program_a.close()
        program_b.close()


def wait_for(bridge: TunBridge, programs: "list[Program]", patience_us: int) -> None:
    """Go on carrying packets (goodbyes, for example) until the programs have ended, or patience has."""
    until_us = monotonic_us() + patience_us
    while running := [program.descriptor for program in programs if program.process.poll() is None]:
        if not bridge.run(running, until_us):
            return


class Program:
    """A program in a namespace. `ip netns exec` becomes the program itself, so its process is the program's."""

    def __init__(self, here: Namespace, peer: Namespace, command: list[str], stdin: int | None) -> None:
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", here.name, *command],
            stdin=stdin,
            env={**os.environ, "LAB_HERE": here.address, "LAB_PEER": peer.address},
        )
        self.descriptor = os.pidfd_open(self.process.pid)  # readable when it has ended

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.descriptor)


class Signals:
    """The signals that ask for an end, noted and made visible to select()."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.received: int | None = None

    def note(self, number: int, frame: object) -> None:
        if self.received is None:
            self.received = number


@contextlib.contextmanager
def noted_signals() -> Iterator[Signals]:
    """Until the end of the block these signals interrupt nothing, so that cleaning up is never cut short."""
    receive, send = socket.socketpair()
    with receive, send:
        send.setblocking(False)
        signals = Signals(receive.fileno())
        numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup wants it ignored
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, signals.note) for number in numbers}
        descriptor_before = signal.set_wakeup_fd(send.fileno())
        try:
            yield signals
        finally:
            signal.set_wakeup_fd(descriptor_before)
            for number, handler in before.items():
                signal.signal(number, handler)


def be_punctual() -> None:
    """Run before the tested programs when both want the processor; a link does not slow down with its users."""
    sharpen_timers()
    with contextlib.suppress(OSError):  # a container may forbid it
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))


def exit_code(returncode: int) -> int:
    return EXIT_SIGNAL - returncode if returncode < 0 else returncode


# --- the command line ------------------------------------------------------------------------------------------------


def split(arguments: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Our own options, A's command line, B's. What follows a third -- belongs to B."""
    parts: list[list[str]] = [[]]
    for argument in arguments:
        if argument == "--" and len(parts) < 3:
            parts.append([])
        else:
            parts[-1].append(argument)
    own, command_a, command_b = [*parts, [], []][:3]
    return own, command_a, command_b


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        "lab-net",
        usage="lab-net [SCENARIO | conditions] [options] -- PROGRAM-A [arguments] -- PROGRAM-B [arguments]",
        description=DESCRIPTION,
        epilog=EPILOG + scenario_list(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_link_options(result)
    result.add_argument("--seed", default="1", help="the same seed loses the same packets (1)")
    result.add_argument("--log", metavar="FILE", help="a line of JSON a packet")
    result.add_argument("-q", "--quiet", action="store_true", help="no summary at the end")
    return result


def summary(link: ScenarioLink[bytes], bridge: TunBridge) -> str:
    def words(name: str, counters: LinkCounters) -> str:
        text = f"{name}: {counters.sent} packets, {counters.lost} lost, {counters.dropped_by_queue} dropped by the queue"
        return f"{text}, {counters.corrupted} corrupted" if counters.corrupted else text

    own = bridge.counters
    not_written = f", {own.not_written} not taken by the device" if own.not_written else ""
    return (
        f"{words('B to A', link.up.counters)}; {words('A to B', link.down.counters)}; "
        f"{own.late} delivered more than {LATE_US / 1000:g} ms late, the worst {own.latest_us / 1000:.1f} ms"
        f"{not_written}"
    )
