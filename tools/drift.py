"""A day of two sound cards whose clocks differ, in a minute: how far the delay strays, and how much the pitch changes.

    .venv/bin/python tools/drift.py --hours 24 --skew-ppm 200

The simulation is tests/drifting.py; the controller of proto/drift.py beside one without memory, as scrcpy has it.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.drifting import Switched, play
from udpconf.limits import MS
from udpconf.proto.drift import DriftControl


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=24.0, help="time that is simulated (default 24)")
    parser.add_argument(
        "--skew-ppm", type=float, default=200.0, help="microphone's clock too fast (default 200)"
    )
    parser.add_argument("--jitter-ms", type=float, default=30.0, help="of the network (default 30)")
    arguments = parser.parse_args()
    controls: dict[str, Callable[[float], float]] = {
        "proto/drift.py": DriftControl().update,
        "without memory": Switched().update,
    }
    for name, control in controls.items():
        course = play(
            control,
            arguments.hours * 3_600,
            skew_ppm=arguments.skew_ppm,
            jitter_us=round(arguments.jitter_ms * MS),
        )
        print(
            f"{name}: delay {course.lowest_us / MS:+.2f} to {course.highest_us / MS:+.2f} ms, "
            f"{course.underruns} underruns, at most {course.most_faster * 1e6:.0f} ppm faster "
            f"and {course.most_slower * 1e6:.0f} slower",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
