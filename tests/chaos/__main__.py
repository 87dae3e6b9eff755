"""The long run: `make chaos ARGS="--minutes 25 --seed 1"`.

All stacks at once, each with its own servers and its own chance. Prints every round and a table,
and with --write puts it into docs/explanation/reliability.md. Ends with status 1 where an invariant
broke.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from tests.chaos.faults import FAULTS, SHAPES
from tests.chaos.forge import ROOT, Forge
from tests.chaos.runner import Report, Tally, run
from tests.chaos.stacks import STACKS, arena, missing_for, seeded, undisturbed

PAGE = ROOT / "docs/explanation/reliability.md"
START, END = "<!-- table: written by `make chaos` -->", "<!-- end of table -->"


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stack", choices=STACKS, action="append", help="one or more; all else")
    parser.add_argument("--only", default="", help="faults whose name has this in it")
    parser.add_argument(
        "--write", action="store_true", help="the table, into docs/explanation/reliability.md"
    )
    options = parser.parse_args()
    wanted = options.stack or list(STACKS)
    absent = {name: lacks for name in wanted if (lacks := missing_for(name))}
    for name, lacks in absent.items():
        say(f"{name} is left out: this machine lacks {lacks}")
    if absent and os.environ.get("CI") == "true":
        return 1
    folder = Path(tempfile.mkdtemp(prefix="headwise-chaos-"))
    forge, reports = Forge(folder), list[Report]()
    until = time.monotonic() + options.minutes * 60
    faults = [fault for fault in FAULTS if options.only in fault.name]

    def one(name: str) -> None:
        report = Report(stack=name, broken=["the stack did not come up"])
        reports.append(report)
        with arena(name, folder / name, forge) as made:
            undisturbed(made, SHAPES)
            say(f"{name}: undisturbed {made.hashes['plain'][:12]}")
            report.broken.clear()
            run(made, report, seeded(name, options.seed), until=until, faults=faults, say=say)

    threads = [threading.Thread(target=one, args=(n,)) for n in wanted if n not in absent]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    forge.close()
    text = page(sorted(reports, key=lambda r: STACKS.index(r.stack)), options.minutes, options.seed)
    say(text)
    broken = [f"{report.stack}: {what}" for report in reports for what in report.broken]
    say("\n".join(broken) or "every invariant held")
    if options.write:
        write(text)
    if broken:
        say(f"The logs are in {folder}")
    else:
        shutil.rmtree(folder)
    return int(bool(broken))


def page(reports: list[Report], minutes: float, seed: int) -> str:
    """The tables as Markdown."""
    lines = [
        f"{minutes:g} minutes, seed {seed}, {os.cpu_count()} CPU cores, Python "
        f"{platform.python_version()}; all stacks at the same time.",
        "",
        "| stack | rounds | jobs | faults | attempts repeated | invariants broken |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r.stack} | {r.rounds} | {r.jobs} | {r.injected} | {r.retried} | {len(r.broken)} |"
        for r in reports
    ]
    lines += [
        "",
        "| fault | times injected | shards lost | rows doubled | hash equal |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for fault in FAULTS:
        total = add(report.faults.get(fault.name, Tally()) for report in reports)
        equal = f"{total.equal} of {total.compared}"
        lines.append(
            f"| {fault.name} | {total.injected} | {total.lost} | {total.doubled} | {equal} |"
        )
    total = add(tally for report in reports for tally in report.faults.values())
    lines.append(f"| **all** | {total.injected} | {total.lost} | {total.doubled} | |")
    return "\n".join(lines)


def add(tallies: Iterable[Tally]) -> Tally:
    """Their sum."""
    total = Tally()
    for tally in tallies:
        for name, value in vars(tally).items():
            setattr(total, name, getattr(total, name) + value)
    return total


def write(text: str) -> None:
    """Put the tables between their marks."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{START}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
