#!/usr/bin/env python3
"""What lost frames and changes of the delay leave beside a sweep, over a bad network.

    sudo .venv/bin/python tools/sweep.py
    sudo .venv/bin/python tools/sweep.py --link "--delay 20ms --jitter 30ms --loss 2%" --seeds 3

A sine of -12 dBFS goes from 200 Hz to 4 kHz and back, 10 s each way, between two network namespaces (netem/lab-net), through
Sender.send_audio and Server.audio. To each 5 ms that are heard a piece of the sweep is fitted, as loud and as much later as fits best,
whether anything was done to them or not; what is left beside it should stay under -40 dBFS. Where much is lost Opus has fewer bits, and
itself leaves more (docs/sound.md).
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from tools import speech  # noqa: E402
from tools.lab.voices import RATE, Pcm, Speech  # noqa: E402

Floats = NDArray[np.float64]

LINKS = {
    "5 % lost": "--delay 20ms --loss 5%",
    "jitter": "--delay 20ms --jitter 30ms",
}
AMPLITUDE = 8_230  # -12 dB of full scale
FULL_SCALE = 32_767
LOWEST_HZ, HIGHEST_HZ = 200.0, 4_000.0
ONE_WAY_S = 10.0
SLOPE = (HIGHEST_HZ - LOWEST_HZ) / ONE_WAY_S
WINDOW = RATE * 5 // 1000
# A change of the delay moves it by 15 ms, which is 6 Hz; to begin with nobody knows how late it is.
NEAR_HZ = np.arange(-9.0, 9.5, 0.5)
FAR_HZ = np.arange(-100.0, 100.5, 0.5)
# Of what the frequency says of where we are, so much is believed; around the turns it says nothing.
BELIEVED = 0.25
TURN_HZ = 20.0
BOUND_DB = -40.0
# A frame is made up some 10 ms before it is heard, and for 30 ms what follows may be off.
BESIDE = RATE * 50 // 1000
# Until the copies have come and gone, and the bit rate is where it stays.
WARM_UP_S = 5.0
# It breaks off in the midst of a frame.
END_S = 0.05
SHOWN = 20


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="of sound (default 60)")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each link (default 1)")
    parser.add_argument("--seed", type=int, default=1, help="the first one (default 1)")
    parser.add_argument(
        "--link",
        action="append",
        metavar="OPTIONS",
        help="options of netem/lab-net, in quotes, instead of these",
    )
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        print("sweep: network namespaces need root: start this with sudo.", file=sys.stderr)
        return 4
    said = Speech(sweep(arguments.seconds), [])
    links = {link: link for link in arguments.link} if arguments.link else LINKS
    for name, options in links.items():
        for seed in range(arguments.seed, arguments.seed + arguments.seeds):
            measure(name, said, options, seed)
    return 0


def hertz_at(seconds: Any) -> Any:
    """Up and down again."""
    return HIGHEST_HZ - SLOPE * np.abs(seconds % (2 * ONE_WAY_S) - ONE_WAY_S)


def sweep(seconds: float) -> Pcm:
    frequency = hertz_at(np.arange(round(seconds * RATE)) / RATE)
    rounded: Pcm = np.rint(AMPLITUDE * np.sin(2 * np.pi * np.cumsum(frequency) / RATE)).astype(np.int16)
    return rounded


def measure(name: str, said: Speech, options: str, seed: int) -> None:
    found = speech.run("udpconf", said, options, seed)
    if found is None:
        return
    notes, heard, _, _ = found
    starts, left_db = residuals(heard, len(said.pcm) / RATE)
    concealed = np.array(notes["concealed"], np.int64)
    above = np.flatnonzero(left_db > BOUND_DB)
    print(
        f"{name}, seed {seed}: {len(concealed)} frames concealed; left beside the sweep {np.median(left_db):.1f} dBFS in the middle, "
        f"{left_db.max():.1f} at the most, above {BOUND_DB:.0f} in {len(above)} of {len(left_db)} pieces of 5 ms",
        flush=True,
    )
    for index in above[:SHOWN]:
        since = starts[index] - concealed
        beside = np.sum((since > -WINDOW) & (since < BESIDE))
        print(
            f"    {starts[index] / RATE:.3f} s: {left_db[index]:.1f} dBFS, beside {beside} concealed frames"
        )


def residuals(heard: Pcm, seconds: float) -> tuple[NDArray[np.int_], Floats]:
    """(where each piece of 5 ms begins in what was heard, what is left of it beside the sweep: dB of full scale, a sine's)."""
    starts = np.arange(round(WARM_UP_S * RATE), len(heard) - WINDOW, WINDOW)
    captured_s = float(starts[0]) / RATE
    left_db = np.empty(len(starts))
    for index, at in enumerate(starts):
        if captured_s > seconds - END_S:
            return starts[:index], left_db[:index]
        around = NEAR_HZ if index else FAR_HZ
        rising = captured_s % (2 * ONE_WAY_S) < ONE_WAY_S
        slope = SLOPE if rising else -SLOPE
        hertz = hertz_at(captured_s)
        best, left_db[index] = closest(heard[at : at + WINDOW], hertz + around, slope)
        captured_s += WINDOW / RATE
        if LOWEST_HZ + TURN_HZ < hertz < HIGHEST_HZ - TURN_HZ:
            captured_s += around[best] / slope * (BELIEVED if index else 1)
    return starts, left_db


def closest(piece: Pcm, hertz: Floats, slope: float) -> tuple[int, float]:
    """Of sines that have such frequencies in the middle and change by ``slope`` hertz a second, the one that leaves least: which, how much."""
    times = (np.arange(len(piece)) - len(piece) / 2) / RATE
    angle = 2 * np.pi * (hertz[:, np.newaxis] * times + slope / 2 * times**2)
    base = np.stack((np.sin(angle), np.cos(angle)))
    # Least squares of two unknowns, for all frequencies at once.
    (ss, sc), (_, cc) = np.einsum("ikn,jkn->ijk", base, base)
    s, c = base @ piece.astype(np.float64)
    fitted = (cc * s**2 - 2 * sc * s * c + ss * c**2) / (ss * cc - sc**2)
    left = np.maximum(np.sum(piece.astype(np.float64) ** 2) - fitted, 0.0)
    best = int(np.argmin(left))
    return best, float(10 * np.log10(2 * left[best] / len(piece) / FULL_SCALE**2 + 1e-12))


if __name__ == "__main__":
    sys.exit(main())
