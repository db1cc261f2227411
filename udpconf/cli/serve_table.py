"""The live table of ``udpconf serve``: a row for each sender."""

from collections.abc import Container, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from udpconf.cli.console import counted
from udpconf.cli.live import Readout

if TYPE_CHECKING:
    from udpconf.app.values import ClientStats

# Fits 80 columns with an IPv4 address.
COLUMNS = ("sender", "address", "fps", "kbit/s", "loss %", "holes", "skipped", "RTT ms", "delay ms", "rec")


def table(stats: "Mapping[str, ClientStats]", recording: Container[str]) -> Readout:
    """Everybody's figures; ``recording`` has the ids of those with an open file."""
    rows = [
        (
            one.name,
            one.address,
            f"{one.video_fps:.1f}",
            f"{one.received_kbps:.0f}",
            f"{100 * one.loss_share:.1f}",
            str(one.frames_with_holes),
            str(one.frames_skipped),
            "" if one.rtt_ms is None else f"{one.rtt_ms:.1f}",
            f"{one.playout_delay_ms:.1f}",
            "rec" if client_id in recording else "",
        )
        for client_id, one in stats.items()
    ]
    rows = rows or [("waiting for senders", "", "", "", "", "", "", "", "", "")]
    line = counted(len(stats), "sender") + "".join(
        f"; {one.name} {one.video_fps:.1f} fps {one.received_kbps:.0f} kbit/s loss {100 * one.loss_share:.1f} %"
        for one in stats.values()
    )
    return Readout(rows, line, {"clients": {client_id: asdict(one) for client_id, one in stats.items()}})
