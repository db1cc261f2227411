"""The live table of ``udpconf serve``: a row for each sender."""

from collections.abc import Container, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from udpconf.cli.console import counted
from udpconf.cli.live import Readout

if TYPE_CHECKING:
    from udpconf.app.values import ClientStats

# What fits 80 columns with an IPv4 address.
NARROW = ("sender", "address", "fps", "kbit/s", "loss %", "holes", "skipped", "RTT ms", "delay ms", "rec")
# And what tells why, where there is room. Mended: frames made whole by parity or repair; age: from capture to here, of all but the
# worst of a hundred frames; late: datagrams of frames that had been shown; kernel: datagrams that this machine had no room for.
WIDE = ("mended", "age ms", "jitter ms", "late", "kernel")
COLUMNS = NARROW + WIDE


def table(stats: "Mapping[str, ClientStats]", recording: Container[str]) -> Readout:
    """Everybody's figures; ``recording`` has the ids of those with an open file."""
    rows: list[tuple[str, ...]] = [
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
            str(one.frames_by_parity + one.frames_by_repair),
            "" if one.frame_age_p99_ms is None else f"{one.frame_age_p99_ms:.0f}",
            f"{one.jitter_ms:.0f}",
            str(one.shards_late),
            str(one.packets_dropped_by_kernel),
        )
        for client_id, one in stats.items()
    ]
    rows = rows or [("waiting for senders", *[""] * (len(COLUMNS) - 1))]
    line = counted(len(stats), "sender") + "".join(
        f"; {one.name} {one.video_fps:.1f} fps {one.received_kbps:.0f} kbit/s loss {100 * one.loss_share:.1f} %"
        for one in stats.values()
    )
    return Readout(rows, line, {"clients": {client_id: asdict(one) for client_id, one in stats.items()}})
