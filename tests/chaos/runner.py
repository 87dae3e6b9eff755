"""Rounds of faults, and the table of what they came to."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.arena import Arena
from tests.chaos.expected import EXPECTED, LATE
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.verdict import Verdict, judge


@dataclass
class Tally:
    """Effects of one kind of fault."""

    injected: int = 0
    lost: int = 0
    doubled: int = 0
    equal: int = 0
    compared: int = 0


@dataclass
class Report:
    """The outcome of all rounds of a stack."""

    stack: str
    rounds: int = 0
    jobs: int = 0
    retried: int = 0
    """Attempts beyond the first of a shard: what the faults cost."""
    faults: dict[str, Tally] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    """Patterns of the error lines that faults of earlier rounds may still cause."""

    @property
    def injected(self) -> int:
        return sum(tally.injected for tally in self.faults.values())


def choose(chance: random.Random, made: Report, faults: Iterable[Fault]) -> list[Fault]:
    """The next round's faults: those that were done least often, few at once.

    More than three at one shard would rightly fail it.
    """

    def rarity(fault: Fault) -> tuple[float, float]:
        done = made.faults.get(fault.name, Tally()).injected
        return (done * (4 if fault.slow else 1), chance.random())

    ranked = sorted(faults, key=rarity)
    first = ranked[0]
    chosen, used = [first], {point.split(".")[0] for point in points_of(first)}
    for fault in ranked[1 : 1 + chance.randint(0, 2)]:
        names = {point.split(".")[0] for point in points_of(fault)}
        if fault.scene is None and not names & used:
            chosen.append(fault)
            used |= names
    return chosen


def points_of(fault: Fault) -> set[str]:
    """The names of the points where it may lie."""
    return {point for point, _ in fault.points(random.Random(0))} if fault.points else set()


def play(made: Arena, chance: random.Random, chosen: list[Fault], report: Report) -> None:
    """One round: lay, submit, disturb, wait for the end, check."""
    laid: dict[str, list[str]] = {}
    for fault in chosen:
        if fault.points:
            laid[fault.name] = [made.lay(point, do) for point, do in fault.points(chance)]
    done: Counter[str] = Counter()
    scene = next((fault for fault in chosen if fault.scene), None)
    if scene and scene.scene:
        jobs = scene.scene(made, chance)
        done[scene.name] += 1
    else:
        jobs = [(made.begin(), "plain")]
    for fault in chosen:
        if fault.act:
            made.moving(jobs[0][0])
            time.sleep(chance.random() * 0.4)
            done[fault.name] += fault.act(made, chance, jobs[0][0])
    verdicts = []
    for job, shape in jobs:
        made.finish(job)
        verdicts.append(judge(made, job, shape))
        retried = f"SELECT SUM(fence) - COUNT(*) FROM shard WHERE job_id = {job} AND fence > 0"
        report.retried += int(made.rows(retried)[0][0] or 0)
    made.let_sleepers_go(after=0)
    passed = set(made.forget())
    for name, points in laid.items():
        done[name] += passed.issuperset(points)
    made.recover()
    note(report, done, verdicts, unexpected(made, chosen, report))
    for job, _ in jobs:
        made.ask(job, "delete")


def unexpected(made: Arena, chosen: list[Fault], report: Report) -> list[str]:
    """Acts and lines of the processes that no fault of this round explains, nor one of the round
    before: a process may come to say it late, and some things whenever it likes."""
    expected = [pattern for fault in chosen for pattern in EXPECTED.get(fault.name, ())]
    known = re.compile("|".join([*expected, *report.expected, "(?!)"]))
    report.expected = [*expected, *({*report.expected}.intersection(LATE))]
    found = [*made.watch.complaints(), *made.logs.read()]
    return list(dict.fromkeys(what for what in found if not known.search(what)))


def note(
    report: Report,
    done: Mapping[str, int],
    verdicts: list[Verdict],
    complaints: Sequence[str] = (),
) -> None:
    """Add a round to the report."""
    report.rounds += 1
    report.jobs += len(verdicts)
    for name, times in done.items():
        tally = report.faults.setdefault(name, Tally())
        tally.injected += times
        if times:
            tally.lost += sum(verdict.lost for verdict in verdicts)
            tally.doubled += sum(verdict.doubled for verdict in verdicts)
            compared = [verdict.equal for verdict in verdicts if verdict.equal is not None]
            tally.equal += sum(compared)
            tally.compared += len(compared)
    names = ", ".join(done)
    report.broken += [f"{names}: {what}" for what in complaints]
    for verdict in verdicts:
        report.broken += [f"{names}: {what}" for what in verdict.broken]
        if verdict.equal is False:
            report.broken.append(f"{names}: another result hash")


def run(
    made: Arena,
    report: Report,
    chance: random.Random,
    *,
    until: float,
    faults: Iterable[Fault] = FAULTS,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Rounds until a moment of the monotonic clock."""
    name = report.stack
    usable = []
    for fault in (fault for fault in faults if name in fault.on):
        if lacks := fault.needs(made):
            say(f"{name}: no {fault.name}: this machine lacks {lacks}")
        else:
            usable.append(fault)
    while time.monotonic() < until:
        chosen = choose(chance, report, usable)
        started, known = time.monotonic(), len(report.broken)
        try:
            play(made, chance, chosen, report)
        except Exception as error:  # noqa: BLE001 - the stack goes on, and the report says it
            report.broken.append(f"{', '.join(f.name for f in chosen)}: {error!r}")
            made.reset()
        names = ", ".join(fault.name for fault in chosen)
        say(f"{name} {report.rounds}: {names} ({time.monotonic() - started:.1f} s)")
        for what in report.broken[known:]:
            say(f"{name} {report.rounds}: BROKEN {what}")
