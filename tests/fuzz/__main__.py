"""The long run: `make fuzz ARGS="console --minutes 10 --seed 1"`; without a name, all parts.

A part is a module of this folder with a function `run(seed, seconds) -> Report`; add it to PARTS.
Ends with status 1 when a part broke a limit.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from tests.fuzz import api, console, data, models, siege
from tests.fuzz.report import Report

PARTS: dict[str, Callable[[int, float], Report]] = {
    "api": api.run,
    "console": console.run,
    "data": data.run,
    "models": models.run,
    "siege": siege.run,
}


def main() -> int:
    """Run the parts that were asked for, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--minutes", type=float, default=5, help="in all")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    names = options.part or list(PARTS)
    broken = 0
    for name in names:
        report = PARTS[name](options.seed, options.minutes * 60 / len(names))
        sys.stdout.write("\n".join(report.lines()) + "\n")
        broken += len(report.broken)
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
