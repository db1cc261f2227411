#!/usr/bin/env python3
"""What leaving out silence spares, and what it does to the first word after it, in virtual time.

    sudo apt-get install espeak-ng
    .venv/bin/python tools/pauses.py

Eight pairs of synthetic sentences with pauses of some seconds, in a room with white noise, go through the real gate, Opus, packets
with copies, a link, the jitter buffer and the decoder. Judged are the 50 ms from the first frame that is sent after each
pause, and the 100 ms around its beginning, which hold what the gate cut off: correlation with the same sound through Opus
alone, nothing left out and no network.
"""

import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from tests.pauses import BEGINNING_S, Heard, Pcm, listen, without_a_network  # noqa: E402
from tools.lab.voices import RATE, speech  # noqa: E402
from udpconf.limits import MS  # noqa: E402

# A pause begins with 0.4 s that are sent, and after the last word there may be breath.
SETTLED_S = 1.0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pause", type=float, default=3.0, help="seconds between two pairs (default 3)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each path that loses (default 3)")
    arguments = parser.parse_args()
    print(
        "noise, dBFS | lost | dtx | kbit/s in pauses | in all | first 50 ms: median, worst | around it | delay, ms | concealed"
    )
    for noise_db in (-70.0, -55.0):
        pcm = _talk(noise_db, arguments.pause)
        ideal = without_a_network(pcm)
        begins_s = listen(pcm).begins_s
        for loss in (0.0, 0.05):
            for dtx in (False, True):
                runs = [
                    listen(pcm, dtx=dtx, loss=loss, jitter_us=20 * MS, seed=seed)
                    for seed in range(1, 1 + (arguments.seeds if loss else 1))
                ]
                print(f"{noise_db:g} | {loss:.0%} | {'on' if dtx else 'off'} | ", end="")
                print(_row(runs, ideal, begins_s, arguments.pause), flush=True)
    return 0


def _talk(noise_db: float, pause_s: float) -> Pcm:
    """The first pause is there to learn the room by."""
    said = speech()
    pause = np.zeros(round(pause_s * RATE), np.int16)
    parts: list[Pcm] = [pause]
    for first, end in said.utterances:
        parts += [said.pcm[first:end], pause]
    sound = np.concatenate(parts).astype(np.float64)
    sound += np.random.default_rng(1).normal(0, 32_768 * 10 ** (noise_db / 20), len(sound))
    return np.rint(sound).clip(-32_768, 32_767).astype(np.int16)


def _row(runs: list[Heard], ideal: NDArray[np.float64], begins_s: list[float], pause_s: float) -> str:
    seconds = len(ideal) / RATE
    begins_s = [begin for begin in begins_s if begin + BEGINNING_S < seconds]
    # Before each first word after a long pause, as far back as nothing was on its way.
    quiet_s = [(begin - pause_s + SETTLED_S, begin - 0.1) for begin in begins_s[1:]]
    pauses = [run.kbps(low, high) for run in runs for low, high in quiet_s]
    first = [run.beginning(ideal, begin) for run in runs for begin in begins_s]
    around = [
        run.beginning(ideal, begin - BEGINNING_S, 2 * BEGINNING_S) for run in runs for begin in begins_s
    ]
    delays = [run.delay_ms(begin, begin + 0.2) for run in runs for begin in begins_s]
    concealed = sum(run.counts.lost + run.counts.stretched for run in runs) / len(runs)
    return (
        f"{np.median(pauses):.1f} | {np.mean([run.kbps(0, seconds) for run in runs]):.1f} | "
        f"{np.median(first):.3f}, {min(first):.3f} | {np.median(around):.3f}, {min(around):.3f} | "
        f"{np.median(delays):.0f} | {concealed:.0f}"
    )


if __name__ == "__main__":
    sys.exit(main())
