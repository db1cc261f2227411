#!/usr/bin/env python3
"""`udpconf proxy` from a copy of the sources, also where OpenCV and the like are not installed: a bad network on any OS.

    tools/udp_proxy.py --to 192.0.2.7:5000 --scenario 4g-moving
    tools/udp_proxy.py --list

It needs Python 3.11, typer and rich, all of which are pure Python.
"""

import sys
from pathlib import Path

EXIT_MISSING = 8  # as for every optional package

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.argv.insert(1, "proxy")

try:
    from udpconf.cli.main import main
except ModuleNotFoundError as error:
    print(
        f"There is no Python package {error.name} here. What is needed: pip install typer rich",
        file=sys.stderr,
    )
    sys.exit(EXIT_MISSING)

if __name__ == "__main__":
    main()
