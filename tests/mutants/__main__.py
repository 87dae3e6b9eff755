"""Change the code a little, many times, and see that tests fail.

Named mutants (tests/mutants/named.py) must be killed. Of all small changes of the files in
tests/mutants/targets.py a sample is tried, another one with another --seed. Those that survive are
listed: each is a missing test, or a change that means nothing.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from collections.abc import Sequence

from tests.mutants.mutations import mutants
from tests.mutants.named import NAMED
from tests.mutants.runner import Outcome, Trial, preload, run
from tests.mutants.targets import TARGETS


def main() -> int:
    """Run; returns 1 where a named mutant survived or the tests fail without one."""
    # Ended by a signal or not: what was started here ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = arguments()
    named = [
        Trial(name=one.name, mutant=one.mutant, tests=one.tests)
        for one in NAMED
        if options.file in one.path
    ]
    sampled = [] if options.named else sample(options.count, options.seed, options.file)
    suites = list(dict.fromkeys(trial.tests for trial in sampled))
    if named:
        suites.append(tuple(dict.fromkeys(test for trial in named for test in trial.tests)))
    plain = [Trial(name=" ".join(tests), mutant=None, tests=tests) for tests in suites]
    preload()
    started = time.monotonic()
    broken = tried(plain, options, failing=Outcome.KILLED, word="fails without a mutant")
    if broken:
        return 1
    lived = tried([*named, *sampled], options, failing=Outcome.SURVIVED, word="survived")
    count, seconds = len(named) + len(sampled), time.monotonic() - started
    print(f"{count - len(lived)} of {count} mutants killed in {seconds:.0f} s")
    return int(any(trial in lived for trial in named))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--named", action="store_true", help="only the named mutants")
    parser.add_argument("--count", type=int, default=20, help="mutants tried per file; 0: all")
    parser.add_argument("--seed", type=int, default=1, help="which mutants are tried")
    parser.add_argument("--file", default="", help="only files whose path contains this")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=300, help="time limit of one mutant")
    return parser.parse_args()


def sample(count: int, seed: int, file: str) -> list[Trial]:
    """So many mutants of every target."""
    found = []
    for path, tests in TARGETS.items():
        if file in path:
            every = mutants(path)
            chosen = random.Random(f"{seed}:{path}").sample(
                every, min(count or len(every), len(every))
            )
            chosen.sort(key=lambda one: one.start)
            found += [Trial(name=str(one), mutant=one, tests=tests) for one in chosen]
    return found


def tried(
    trials: Sequence[Trial], options: argparse.Namespace, *, failing: Outcome, word: str
) -> list[Trial]:
    """Run trials, print those that end in `failing`, and return them."""
    found: list[Trial] = []

    def report(trial: Trial, outcome: Outcome) -> None:
        if outcome is failing:
            found.append(trial)
            print(f"{word}: {trial.name}", flush=True)

    run(trials, report, jobs=options.jobs, seconds=options.seconds)
    return found


if __name__ == "__main__":
    sys.exit(main())
