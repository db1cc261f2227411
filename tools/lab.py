#!/usr/bin/env python3
"""Measures udpconf, and the plain TCP way beside it, over bad networks: see --help and docs/testing-under-loss.md."""

import os
import signal
import sys
from pathlib import Path

signal.signal(signal.SIGINT, signal.SIG_DFL)  # until there is something to clean up

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv" / "bin" / "python"

# sudo and #! find the system's Python, which has neither numpy nor OpenCV.
if sys.prefix == sys.base_prefix and PYTHON.exists():
    os.execv(PYTHON, [str(PYTHON), *sys.argv])

sys.path[0] = str(ROOT)  # instead of this folder, where this file has the name of the package lab

if len(sys.argv) == 4 and sys.argv[1] == "--role":
    from tools.lab.roles import run

    run(sys.argv[2], sys.argv[3])

try:
    from tools.lab.command import main
except ModuleNotFoundError as error:
    sys.exit(f"lab: {error}; tools/setup installs what it needs.")

sys.exit(main())
