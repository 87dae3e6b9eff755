"""Small changes of the code are found, applied and noticed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.__main__ import sample
from tests.mutants.mutations import ROOT, edits, mutants
from tests.mutants.named import NAMED
from tests.mutants.targets import TARGETS

SOURCE = '''"""A module: 1 < 2 and "3 == 4"."""

LIMIT: int = 10
FIND = """SELECT a FROM t WHERE a = 1 AND b < :b"""
SAID = "3 < 4 and so on"


def take(left: int, most: int = LIMIT) -> bool:
    """Return 1 or 2."""
    return left + 1 < most and not left == 0
'''


def changed(source: str) -> set[str]:
    """The lines that changes of a source lead to."""
    found = set()
    for start, end, new in edits(source):
        text = source[:start] + new + source[end:]
        (line,) = set(text.splitlines()) - set(source.splitlines())
        found.add(line.strip())
    return found


def test_every_small_change_is_found() -> None:
    assert changed(SOURCE) == {
        "LIMIT: int = 11",
        'FIND = """SELECT a FROM t WHERE a <> 1 AND b < :b"""',
        'FIND = """SELECT a FROM t WHERE a = 2 AND b < :b"""',
        'FIND = """SELECT a FROM t WHERE a = 1 OR b < :b"""',
        'FIND = """SELECT a FROM t WHERE a = 1 AND b <= :b"""',
        "return left - 1 < most and not left == 0",
        "return left + 2 < most and not left == 0",
        "return left + 1 <= most and not left == 0",
        "return left + 1 < most or not left == 0",
        "return left + 1 < most and left == 0",
        "return left + 1 < most and not left != 0",
        "return left + 1 < most and not left == 1",
    }


@pytest.mark.parametrize("path", TARGETS)
def test_mutants_of_a_target_compile_and_differ(path: str) -> None:
    found = mutants(path)
    assert len({mutant.mutated for mutant in found}) == len(found) > 2
    for mutant in found:
        compile(mutant.mutated, path, "exec")
        assert f"[{mutant.source[mutant.start : mutant.end]} -> {mutant.replacement}]" in str(
            mutant
        )


def test_targets_and_their_tests_are_there() -> None:
    for path, tests in TARGETS.items():
        assert (ROOT / path).is_file()
        files = [Path(test.split("::")[0]) for test in tests if test.startswith("tests/")]
        assert files
        assert all((ROOT / file).exists() for file in files)


def make_mutants(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.mutants", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_named_mutants_are_killed() -> None:
    ran = make_mutants("--named", "--jobs=1")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{len(NAMED)} of {len(NAMED)} mutants killed" in ran.stdout


def test_a_seed_chooses_mutants() -> None:
    path = "jobs/kinds/head_importance.py"
    chosen = [sample(3, seed, path) for seed in (1, 1, 2)]
    assert [len(trials) for trials in chosen] == [3, 3, 3]
    assert chosen[0] == chosen[1] != chosen[2]
    assert len(sample(0, 1, path)) == len(mutants(path))


def test_a_sample_is_tried() -> None:
    ran = make_mutants("--file=headwise/attribution/quadrature.py", "--count=3", "--jobs=1")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "of 3 mutants killed" in ran.stdout
