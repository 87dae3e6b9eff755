"""The long run: `make fuzz ARGS="console --minutes 10 --seed 1"`; without a name, all parts.

A part is a module of this folder with a function `run(seed, seconds) -> Report`; add it to PARTS.
Ends with status 1 when a part broke a limit.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

PARTS = ("api", "contract", "console", "data", "siege", "models")
"""Each is imported when its turn comes; models, the last one, need torch and its memory."""


def main() -> int:
    """Run the parts that were asked for, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--minutes", type=float, default=5, help="in all")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    names = options.part or PARTS
    broken = 0
    for name in names:
        part = import_module(f"tests.fuzz.{name}")
        report = part.run(options.seed, options.minutes * 60 / len(names))
        sys.stdout.write("\n".join(report.lines()) + "\n")
        broken += len(report.broken)
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
