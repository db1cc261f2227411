"""What a run came to: from what its two processes and the link wrote down to one line of figures.

Only the frames after the warm-up count. Frames are known by the number in the picture, never by what the program says.
Each frame that the camera took is one of: shown whole, shown with holes, skipped.
"""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tools.lab import barcode, chirp, quality
from tools.lab.ideal import SentFrame, ideal_us, with_parity
from tools.lab.link_log import CONTROL, KINDS, NEVER, SOUND, Packets, read_link_log
from tools.lab.plan import FPS, WARM_UP_S, Plan
from udpconf.proto.path_mtu import PROBE_SIZES

# Longer than this without a new picture, and people see it stand still (chosen, not measured).
FREEZE_US = 200_000
BIN_US = 500_000
IP_UDP_BYTES = 28

Ints = NDArray[np.int64]


class Shown(NamedTuple):
    """A frame's first appearance on the screen."""

    number: int
    row: int  # of the receiver's notes
    shown_us: int
    latency_us: int


class RunNotes:
    """What the processes and the link of a run left behind, read back."""

    def __init__(self, plan: Plan) -> None:
        folder = Path(plan.folder)
        sent = json.loads((folder / "send.json").read_text())
        self.plan = plan
        self.start_us: int = sent["start_us"]
        self.sent_counters: dict[str, Any] = sent["counters"]
        self.received_counters: dict[str, Any] = json.loads((folder / "receive.json").read_text())
        with np.load(folder / "receive.npz") as arrays:
            self.received = {name: arrays[name] for name in arrays.files}
        self.up, self.down, self.steps_us = read_link_log(folder / "link.jsonl")
        first = round(WARM_UP_S * FPS)
        self.taken = [SentFrame(number, begun_us) for number, begun_us, _ in sent["taken"]]
        self.measured = range(first, plan.frames)
        self.captures = {n: self.start_us + n * 1_000_000 // FPS for n in range(plan.frames)}
        self.from_us, self.to_us = self.captures[first], self.captures[plan.frames - 1]
        self.sender_cpu = [(at_us, cpu) for _, at_us, cpu in sent["taken"]]
        self.numbers = [barcode.decode(strips) for strips in self.received["strips"]]
        self.shown = self._first_appearances()

    def _first_appearances(self) -> list[Shown]:
        """By their numbers, of which none goes back. A number from the future is a misread one.

        A picture with holes in both strips shows an old number. Where as many of these came out between two known frames
        as are missing there, they are the missing ones, in their order; where fewer came, nobody knows which they are.
        """
        shown_us, complete = self.received["shown_us"].tolist(), self.received["complete"]
        rows: dict[int, int] = {}  # of each frame
        newest = -1
        nameless: list[int] = []
        for row, number in enumerate(self.numbers):
            if number is not None and newest < number and self.captures.get(number, NEVER) <= shown_us[row]:
                if len(nameless) == number - newest - 1:
                    rows.update(zip(range(newest + 1, number), nameless, strict=True))
                rows[number], newest, nameless = row, number, []
            elif not complete[row]:
                nameless.append(row)
        return [Shown(n, row, shown_us[row], shown_us[row] - self.captures[n]) for n, row in rows.items()]

    def in_window(self) -> list[Shown]:
        return [frame for frame in self.shown if frame.number in self.measured]


def figures(plan: Plan, originals: NDArray[np.uint8]) -> dict[str, Any]:
    """All figures of a run; docs/testing-under-loss.md says what each means.

    Args:
        plan: of a run that has ended.
        originals: uint8[n, h, w], the luma of the pictures that the camera takes in turn.

    Raises:
        OSError, ValueError: a process of the run left no notes.
    """
    notes = RunNotes(plan)
    looks = _looks(notes, originals)
    datagram_bytes = notes.sent_counters.get("datagram_bytes")
    probe_bytes = None if datagram_bytes is None else datagram_bytes + IP_UDP_BYTES
    forward = notes.up.kinds(plan.program, forward=True, probe_bytes=probe_bytes)
    if plan.program == "udpconf":
        forward = with_parity(notes.taken, notes.up, forward)
    ideal = _ideal_latencies_us(notes, forward)
    return {
        **_pictures(notes),
        **_numbers("ideal", list(ideal.values()), quantiles=True),
        "ideal_share": _rounded(len(ideal) / len(notes.measured), 4),
        "psnr_db": _rounded(_mean([look[1] for look in looks]), 2),
        "ssim": _rounded(_mean([look[2] for look in looks]), 4),
        "ssim_loss_free": _rounded(_mean([look[3] for look in looks]), 4),
        **_sound(notes),
        **_wire(notes, forward),
        "sender_cpu_percent": _sender_cpu(notes),
        "receiver_cpu_percent": _receiver_cpu(notes),
        "counters": {**notes.received_counters, **_plain(notes.sent_counters)},
        "timeline": _timeline(notes, looks),
    }


def _pictures(notes: RunNotes) -> dict[str, Any]:
    shown = notes.in_window()
    complete, fresh = notes.received["complete"], notes.received["fresh_area"]
    whole = sum(bool(complete[frame.row]) for frame in shown)
    count = len(notes.measured)
    inside = (notes.received["shown_us"] >= notes.from_us) & (notes.received["shown_us"] <= notes.to_us)
    media_bytes = int(notes.received["coded_bytes"][inside].sum())
    return {
        "frames": count,
        "frames_whole": whole,
        "frames_with_holes": len(shown) - whole,
        "frames_skipped": count - len(shown),
        "frames_unreadable": int(inside.sum()) - int(inside[[frame.row for frame in notes.shown]].sum()),
        "fresh_area": _rounded(sum(float(fresh[frame.row]) for frame in shown) / count, 4),
        "frozen_s": _rounded(frozen_us(notes.shown, notes.from_us, notes.to_us) / 1e6, 3),
        "picture_kbps": _rounded(media_bytes * 8000 / (notes.to_us - notes.from_us), 1),
        **_numbers("latency", [frame.latency_us for frame in shown], quantiles=True),
    }


def frozen_us(shown: list[Shown], from_us: int, to_us: int) -> int:
    """How much of the time was in intervals of more than 200 ms without a new frame, microseconds."""
    times = [frame.shown_us for frame in shown]
    # Before the first measured frame there is the warm-up's last one; if nothing was shown there, the time counts too.
    edges = [min([from_us, *times]), *times, max([to_us, *times])]
    frozen = 0
    for before, after in pairwise(edges):
        if after - before > FREEZE_US:
            frozen += max(0, min(after, to_us) - max(before, from_us))
    return frozen


def _ideal_latencies_us(notes: RunNotes, forward: Ints) -> dict[int, int]:
    frames = notes.taken
    sizes = notes.sent_counters.get("sizes")
    if sizes is not None:
        bytes_of = dict(map(tuple, sizes))
        frames = [frame._replace(coded_bytes=bytes_of.get(frame.number)) for frame in frames]
    # Probes of the path, whatever became of them, were not sent for a frame. A rare shard of just their size is left out
    # with them: the ideal may become a little earlier by that, never too late.
    probes = np.isin(notes.up.size, [size + IP_UDP_BYTES for size in PROBE_SIZES]) & (
        notes.plan.program != "tcp"
    )
    arrivals = ideal_us(frames, notes.up, np.where(probes, CONTROL, forward))
    return {
        number: at_us - notes.captures[number]
        for number, at_us in arrivals.items()
        if number in notes.measured
    }


def _looks(notes: RunNotes, originals: NDArray[np.uint8]) -> list[tuple[int, float, float, float]]:
    """(capture time, PSNR, SSIM, SSIM to what a path that loses nothing would have shown) of the pictures that were kept."""
    result = []
    numbers = {frame.row: frame.number for frame in notes.in_window()}
    for kept, image in enumerate(notes.received["kept"]):
        number = numbers.get(kept * notes.plan.sample_every)
        if number is not None:
            picture = originals[number % len(originals)]
            shown, original = barcode.content(image), barcode.content(picture)
            loss_free = barcode.content(quality.compressed(picture, notes.plan.quality))
            look = (
                quality.psnr_db(shown, original),
                quality.ssim(shown, original),
                quality.ssim(shown, loss_free),
            )
            result.append((notes.captures[number], *look))
    return result


def _sound(notes: RunNotes) -> dict[str, Any]:
    count = int((notes.to_us - notes.start_us) / 1e6 / chirp.INTERVAL_S)
    blocks = notes.received["sound_us"]
    if not notes.plan.sound or notes.plan.program != "udpconf":
        return {}
    chirps = [
        one
        for one in chirp.heard(notes.received["sound"], blocks, notes.start_us, count)
        if one.mouth_us >= notes.from_us
    ]
    delays = [one.ear_us - one.mouth_us for one in chirps if one.ear_us is not None]
    latencies = {frame.number: frame.latency_us for frame in notes.shown}
    skews = []
    for one in chirps:
        seen_us = latencies.get((one.mouth_us - notes.start_us) * FPS // 1_000_000)
        if one.ear_us is not None and seen_us is not None:
            skews.append(one.ear_us - one.mouth_us - seen_us)
    concealed = notes.received_counters.get("audio_frames_concealed")
    frames = max(1, len(notes.received["sound"]) // chirp.BLOCK)
    return {
        "chirps": len(chirps),
        "chirps_heard": len(delays),
        **_numbers("sound", delays),
        "sound_concealed": None if concealed is None else _rounded(concealed / frames, 4),
        # Positive: the sound comes after its picture.
        "sound_after_picture_ms": _rounded(float(np.median(skews)) / 1000, 1) if skews else None,
    }


def _wire(notes: RunNotes, forward: Ints) -> dict[str, Any]:
    """kbit/s put into the link while it was measured, IP headers included, both directions."""
    seconds = (notes.to_us - notes.from_us) / 1e6
    total = np.zeros(len(KINDS))
    lost = sent = 0
    video_payload_bytes = 0
    for packets, kinds in (
        (notes.up, forward),
        (notes.down, notes.down.kinds(notes.plan.program, forward=False)),
    ):
        inside = (packets.sent_us >= notes.from_us) & (packets.sent_us <= notes.to_us)
        total += np.bincount(kinds[inside], weights=packets.size[inside], minlength=len(KINDS))
        video = inside & (kinds != SOUND)
        video_payload_bytes += int(packets.size[video].sum()) - IP_UDP_BYTES * int(video.sum())
        sent += int(inside.sum())
        lost += int((packets.due_us[inside] == NEVER).sum())
    return {
        **{f"wire_{kind}_kbps": _rounded(total[n] * 8 / 1000 / seconds, 1) for n, kind in enumerate(KINDS)},
        "bytes_above_media": _bytes_above_media(notes, video_payload_bytes),
        "second_max_kbps": _rounded(_fullest_second_kbps(notes.up), 1),
        "link_packets": sent,
        "link_loss": _rounded(lost / max(1, sent), 4),
    }


def _bytes_above_media(notes: RunNotes, video_payload_bytes: int) -> float | None:
    """What was sent for pictures over what their compressed data has, less one; of udpconf, which tells how much that is.

    The pictures that came whole tell what one has on average; those that came with holes are as large.
    """
    whole = [frame.row for frame in notes.in_window() if notes.received["complete"][frame.row]]
    if notes.plan.program != "udpconf" or not whole:
        return None
    left_out = ("frames_skipped_ceiling", "frames_skipped_path", "frames_dropped")
    sent_share = 1 - sum(notes.sent_counters.get(name, 0) for name in left_out) / notes.plan.frames
    sent = len(notes.measured) * sent_share
    media_bytes = sent * float(notes.received["coded_bytes"][whole].mean())
    return _rounded(video_payload_bytes / media_bytes - 1, 4) if media_bytes else None


def _fullest_second_kbps(packets: Packets) -> float:
    """The most that was put into the link in any second of the whole run, towards the receiver, IP headers included."""
    if not packets.sent_us.size:
        return 0.0
    until = np.searchsorted(packets.sent_us, packets.sent_us + 1_000_000)
    through = np.concatenate(([0], np.cumsum(packets.size)))
    return float((through[until] - through[:-1]).max()) * 8 / 1000


def _sender_cpu(notes: RunNotes) -> float | None:
    inside = [(at_us, cpu) for at_us, cpu in notes.sender_cpu if at_us >= notes.from_us]
    return _cpu_percent(inside)


def _receiver_cpu(notes: RunNotes) -> float | None:
    rows = zip(notes.received["shown_us"].tolist(), notes.received["cpu_us"].tolist(), strict=True)
    return _cpu_percent([(at_us, cpu) for at_us, cpu in rows if notes.from_us <= at_us <= notes.to_us])


def _cpu_percent(marks: list[tuple[int, int]]) -> float | None:
    if len(marks) < 2:
        return None
    return _rounded(100 * (marks[-1][1] - marks[0][1]) / (marks[-1][0] - marks[0][0]), 2)


def _timeline(notes: RunNotes, looks: list[tuple[int, float, float, float]]) -> dict[str, Any]:
    """Twice a second, by the time of capture or of sending; None where there is nothing to tell."""
    count = -(-(notes.to_us - notes.from_us) // BIN_US)

    def binned(times: Any, values: Any, what: Any) -> list[float | None]:
        places = (np.asarray(times, np.int64) - notes.from_us) // BIN_US
        values = np.asarray(values, np.float64)
        return [
            _rounded(float(what(v)), 2) if (v := values[places == n]).size else None for n in range(count)
        ]

    def rate(times: Ints, sizes: Ints) -> list[float]:
        per_bin = binned(times, sizes, np.sum)
        return [round((value or 0.0) * 8000 / BIN_US, 1) for value in per_bin]

    up: Packets = notes.up
    arrived = up.due_us != NEVER
    shown = notes.in_window()
    fresh = dict.fromkeys(notes.measured, 0.0)
    for frame in shown:
        fresh[frame.number] = float(notes.received["fresh_area"][frame.row])
    captures = [frame.shown_us - frame.latency_us for frame in shown]
    return {
        "step_s": BIN_US / 1e6,
        "scenario_steps_s": [
            round((at_us - notes.from_us) / 1e6, 2)
            for at_us in notes.steps_us
            if notes.from_us < at_us < notes.to_us
        ],
        "sent_kbps": rate(up.sent_us, up.size),
        "arrived_kbps": rate(up.due_us[arrived], up.size[arrived]),
        "link_delay_ms": binned(up.sent_us[arrived], (up.due_us - up.sent_us)[arrived] / 1000, np.max),
        "latency_ms": binned(captures, [frame.latency_us / 1000 for frame in shown], np.median),
        "fresh_area": binned([notes.captures[n] for n in fresh], list(fresh.values()), np.mean),
        "psnr_db": binned([look[0] for look in looks], [look[1] for look in looks], np.mean),
    }


def _numbers(name: str, values_us: list[int], *, quantiles: bool = False) -> dict[str, Any]:
    """p50, p95, p99 and max in milliseconds; with ``quantiles`` all of 0 to 100 % as well."""
    if not values_us:
        return {f"{name}_{key}_ms": None for key in ("p50", "p95", "p99", "max", *["quantiles"] * quantiles)}
    found = np.quantile(np.array(values_us) / 1000, np.linspace(0, 1, 101)).round(2).tolist()
    keys = {"p50": found[50], "p95": found[95], "p99": found[99], "max": found[100]}
    return {f"{name}_{key}_ms": value for key, value in keys.items()} | (
        {f"{name}_quantiles_ms": found} if quantiles else {}
    )


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(float(value), digits)


def _plain(counters: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in counters.items() if not isinstance(value, list)}
