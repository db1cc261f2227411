"""``udpconf proxy``: a bad network between senders and a server, on the real clock, without root."""

import errno
import gc
import socket
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from udpconf import config
from udpconf.cli.console import Console, counted
from udpconf.cli.live import LiveStatistics, Readout
from udpconf.cli.network import (
    Burst,
    Corrupt,
    Delay,
    Duplicate,
    Jitter,
    Loss,
    Queue,
    Rate,
    Reorder,
    ReorderDelay,
    ScenarioName,
    chosen_scenario,
    named_scenario,
)
from udpconf.cli.network_words import in_words
from udpconf.cli.options import DEFAULT_SEED, JsonLines, Quiet, Seed, Verbose, Version, flag, from_text
from udpconf.cli.place import Place, leads_back, parse_place
from udpconf.cli.stop import StopRequested, stop_on_terminate
from udpconf.errors import ConfigError, ConnectError, PortInUseError
from udpconf.net.udp_socket import outward_host

if TYPE_CHECKING:
    from collections.abc import Mapping

    from udpconf.emulation.link import LinkCounters
    from udpconf.emulation.proxy import ProxyCounters
    from udpconf.emulation.scenario import Scenario

# Not the server's own address, so that both can have the same port numbers: a sender is told the port of its sound by
# number.
LISTEN = Place("127.0.0.2", 5000)
NO_AUDIO_PORTS = "none"
LOOK_INTERVAL_S = 0.1
# Drawing the table holds the interpreter's lock, and a datagram asks for that several times on its way. By default it
# would wait 5 ms each time; with 200 us the table still added some 0.5 ms at p99 of 1000 datagrams a second.
SWITCH_INTERVAL_S = 0.00003
# Fits 80 columns.
COLUMNS = ("way", "packets", "kB", "lost", "dropped", "twice", "overtaken", "damaged", "queue ms", "step")


def _audio_ports(text: str) -> range:
    if text == NO_AUDIO_PORTS:
        return range(0)
    low, high = config.parse_port_range(text)
    return range(low, high + 1)


AUDIO_PORTS = _audio_ports(str(config.DEFAULT_AUDIO_PORTS))


def proxy(
    context: typer.Context,
    listen: Annotated[
        Place,
        flag(
            "--listen",
            metavar="HOST:PORT",
            parser=from_text(parse_place),
            help="Where senders join.",
            show_default=str(LISTEN),
        ),
    ] = LISTEN,
    to: Annotated[
        Place | None,
        flag(
            "--to",
            metavar="HOST:PORT",
            parser=from_text(parse_place),
            help="Where the server is.",
            show_default=False,
        ),
    ] = None,
    scenario: ScenarioName = None,
    delay: Delay = None,
    jitter: Jitter = None,
    loss: Loss = None,
    burst: Burst = None,
    rate: Rate = None,
    queue: Queue = None,
    reorder: Reorder = None,
    reorder_delay: ReorderDelay = None,
    duplicate: Duplicate = None,
    corrupt: Corrupt = None,
    seed: Seed = DEFAULT_SEED,
    audio_ports: Annotated[
        range,
        flag(
            "--audio-ports",
            metavar="LOW-HIGH|none",
            parser=from_text(_audio_ports),
            show_default=str(config.DEFAULT_AUDIO_PORTS),
            help="The server's ports for sound, carried under the same numbers; none with --mux-audio.",
        ),
    ] = AUDIO_PORTS,
    seconds: Annotated[
        float | None, flag("--seconds", min=1, help="End after this time.", show_default="until stopped")
    ] = None,
    list_scenarios: Annotated[
        # No environment variable: a list is asked for, not configured.
        bool,
        typer.Option("--list", help="List the scenarios and end."),
    ] = False,
    json_lines: JsonLines = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    version: Version = False,
) -> None:
    """Put a bad network before a server, for any number of senders. The first line printed is the address to join.

    A scenario's schedule starts with the first datagram. The flags for single conditions hold in both directions and take
    the place of a scenario.
    """
    console: Console = context.obj
    console.configure(json_lines=json_lines, quiet=quiet, verbose=verbose)
    if list_scenarios:
        _list(console)
        return
    stop_on_terminate()
    if to is None:
        raise typer.BadParameter(
            "--to is missing: the server that the network leads to, such as 127.0.0.1:5000."
        )
    ports = _ports(listen, to, audio_ports)
    chosen = chosen_scenario(context)
    if chosen is None:
        # Whoever forgot it would take a good network for a bad one.
        raise typer.BadParameter(
            "Nothing says what the network does. Name a --scenario (`udpconf proxy --list` shows them), or give conditions "
            "such as --delay 25ms --loss 2%; --loss 0 is a network that changes nothing."
        )
    _Proxying(console, listen, to, ports, chosen, seed, seconds).run()


def _list(console: Console) -> None:
    from udpconf.emulation.scenario import scenario_names

    scenarios = [named_scenario(name) for name in scenario_names()]
    width = max((len(one.name) for one in scenarios), default=0)
    for one in scenarios:
        if console.json_lines:
            repeat_s = None if one.repeat_us is None else one.repeat_us / 1_000_000
            console.line(
                {
                    "event": "scenario",
                    "name": one.name,
                    "title": one.title,
                    "source": one.source,
                    "steps": len(one.steps),
                    "repeat_seconds": repeat_s,
                }
            )
        else:
            console.result(f"{one.name:{width}}  {one.title}")


def _ports(listen: Place, to: Place, audio_ports: range) -> "Mapping[int, tuple[str, int]]":
    """Listening port -> where it leads; the main one comes first."""
    from udpconf.emulation.proxy import PORTS_MAX

    if to.port == 0:
        raise typer.BadParameter("--to needs the server's port; 0 is none.")
    if listen.port in audio_ports:
        raise typer.BadParameter(
            f"Port {listen.port} of --listen lies within --audio-ports; choose another one, or another range."
        )
    if len(audio_ports) >= PORTS_MAX:
        raise typer.BadParameter(
            f"--audio-ports has {len(audio_ports)} ports and may have {PORTS_MAX - 1}; name the part that the server uses."
        )
    return {listen.port: to} | {port: (to.host, port) for port in audio_ports}


class _Proxying:
    """One run."""

    def __init__(
        self,
        console: Console,
        listen: Place,
        to: Place,
        ports: "Mapping[int, tuple[str, int]]",
        scenario: "Scenario",
        seed: str,
        seconds: float | None,
    ) -> None:
        from udpconf.emulation.proxy import UdpProxy

        self._console = console
        self._listen = listen
        self._to = to
        self._scenario = scenario
        self._seed = seed
        self._seconds = seconds
        self._ports = ports
        self._audio_ports = [*ports][1:]
        self._proxy = UdpProxy(listen.host, ports, scenario, seed=seed)

    def run(self) -> None:
        self._check_hosts()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        gc.freeze()  # what is loaded by now stays; looking through it again would hold up datagrams
        started_s, reason = time.monotonic(), "error"
        with ExitStack() as stack:
            self._start()
            stack.callback(self._proxy.stop)
            try:
                self._announce()
                self._loop(started_s)
                reason = "the time is over"
            except StopRequested as stop:
                reason = stop.reason
                raise
            finally:
                self._proxy.stop()
                self._summarize(reason, time.monotonic() - started_s)

    def _check_hosts(self) -> None:
        from udpconf.emulation.proxy import resolve

        try:
            resolve(*self._to)
        except socket.gaierror as error:
            raise ConnectError(
                f"There is no address for {self._to.host!r} ({error.strerror}). Check the spelling and the name service, or "
                "give the server's IP address.",
                "unreachable",
            ) from error
        try:
            resolve(*self._listen)
        except socket.gaierror as error:
            raise ConfigError(
                f"Cannot listen on {self._listen.host!r} ({error.strerror}). Give an address of this machine."
            ) from error
        circle = next((port for _, port in self._ports.values() if port in self._ports), None)
        if circle is not None and leads_back(self._listen.host, self._to.host):
            raise ConfigError(
                f"--to {self._to.host}, UDP port {circle}, is where the proxy itself listens: datagrams would go in a circle. "
                "Let it listen on an address that is not the server's, such as 127.0.0.2; or on another port of the same "
                "address, with --audio-ports none here and --mux-audio for `udpconf send`."
            )

    def _start(self) -> None:
        try:
            self._proxy.start()
        except OSError as error:
            what = f"The proxy {error.strerror}."
            if error.errno == errno.EADDRINUSE:
                raise PortInUseError(
                    f"{what} Another program has that port: a server on this machine that listens on 0.0.0.0 owns its ports "
                    f"on {self._listen.host} as well, so start it with --host 127.0.0.1; or choose another port."
                ) from error
            advice = {
                errno.EADDRNOTAVAIL: " Give --listen an address of this machine; macOS has 127.0.0.2 after "
                "`sudo ifconfig lo0 alias 127.0.0.2`.",
                errno.EACCES: " Choose ports above 1023.",
            }.get(error.errno or 0, "")
            raise ConfigError(what + advice) from error

    def _announce(self) -> None:
        console, scenario = self._console, self._scenario
        place = Place(outward_host(self._listen.host), self._proxy.ports[0])
        audio = [self._audio_ports[0], self._audio_ports[-1]] if self._audio_ports else None
        if console.json_lines:
            console.line(
                {
                    "event": "listening",
                    "host": place.host,
                    "port": place.port,
                    "audio_ports": audio,
                    "to": str(self._to),
                    "scenario": scenario.name,
                    "title": scenario.title,
                    "steps": len(scenario.steps),
                    "seed": self._seed,
                }
            )
        else:
            console.result(str(place))
        sound = f", sound on ports {audio[0]}-{audio[1]}" if audio else ""
        console.say(f"Leads to {self._to} through {in_words(scenario)}; seed {self._seed}{sound}.")

    def _loop(self, started_s: float) -> None:
        with LiveStatistics(self._console, "", COLUMNS, self._read) as live:
            while self._seconds is None or time.monotonic() < started_s + self._seconds:
                time.sleep(LOOK_INTERVAL_S)
                live.tick()

    def _read(self) -> Readout:
        counters = self._proxy.counters
        step = "" if counters.step is None else f"{counters.step + 1}/{len(self._scenario.steps)}"
        rows = [
            _row("to server", counters.up, counters.up_queue_us, step),
            _row("back", counters.down, counters.down_queue_us, ""),
        ]
        line = (
            f"{_words(counters)}; queue {_ms(counters.up_queue_us)} and {_ms(counters.down_queue_us)} ms"
            + (f"; step {step}" if step else "")
        )
        return Readout(rows, line, self._fields(counters))

    def _fields(self, counters: "ProxyCounters") -> dict[str, Any]:
        return {
            "up": {**counters.up._asdict(), "queue_ms": counters.up_queue_us / 1000},
            "down": {**counters.down._asdict(), "queue_ms": counters.down_queue_us / 1000},
            "clients": counters.clients,
            "flows_evicted": counters.flows_evicted,
            "not_sent": counters.not_sent,
            "not_let_in": counters.not_let_in,
            # From 1, as people count; null until the first datagram.
            "step": None if counters.step is None else counters.step + 1,
        }

    def _summarize(self, reason: str, seconds: float) -> None:
        counters = self._proxy.counters
        self._console.event(
            "ended",
            f"Ended ({reason}) after {seconds:.0f} s: {_words(counters)}.",
            reason=reason,
            seconds=round(seconds, 1),
            **self._fields(counters),
        )


def _row(name: str, one: "LinkCounters", queue_us: int, step: str) -> list[str]:
    numbers = (
        one.sent,
        one.sent_bytes // 1000,
        one.lost,
        one.dropped_by_queue,
        one.duplicated,
        one.reordered,
        one.corrupted,
    )
    return [name, *map(str, numbers), _ms(queue_us), step]


def _words(counters: "ProxyCounters") -> str:
    def way(name: str, one: "LinkCounters") -> str:
        more = {
            "lost": one.lost,
            "dropped by the queue": one.dropped_by_queue,
            "doubled": one.duplicated,
            "reordered": one.reordered,
            "damaged": one.corrupted,
        }
        what = [counted(one.sent, "packet"), f"{one.sent_bytes // 1000} kB"]
        return f"{name} " + ", ".join(what + [f"{number} {word}" for word, number in more.items() if number])

    return f"{counted(counters.clients, 'sender')}; {way('to the server', counters.up)}; {way('back', counters.down)}"


def _ms(us: int) -> str:
    return f"{us / 1000:.0f}"
