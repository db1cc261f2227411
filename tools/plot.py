#!/usr/bin/env python3
"""Makes an HTML page of the results of tools/lab.py: tools/plot.py lab-results.jsonl -o report.html."""

import argparse
import sys
from pathlib import Path

# Instead of this folder, where lab.py has the name of the package lab.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from tools.lab.report import write_report  # noqa: E402
from tools.lab.results import ResultsError  # noqa: E402

EXIT_USAGE = 2


def main() -> int:
    parser = argparse.ArgumentParser(
        "plot.py", description=__doc__, epilog="Exit codes: 0; 2 usage, or results that cannot be read."
    )
    parser.add_argument("results", type=Path, metavar="RESULTS.jsonl", help="what tools/lab.py wrote")
    parser.add_argument("-o", "--output", type=Path, metavar="report.html", help="beside the results")
    options = parser.parse_args()
    output = options.output or options.results.with_suffix(".html")
    try:
        write_report(options.results, output)
    except ResultsError as error:
        print(f"plot: {error}", file=sys.stderr)
        return EXIT_USAGE
    print(f"{output} is written.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
