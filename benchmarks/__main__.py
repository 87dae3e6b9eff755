"""Run every benchmark on the bundled model and data, print the tables, write docs/benchmarks.md.

    python -m benchmarks [--only engine|jobs|store] [--model FOLDER] [--data FILE.jsonl]

Takes some minutes. Numbers are ratios within one run wherever two things are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import torch
import transformers

from benchmarks import engine, jobs, store
from demo.model import build

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/benchmarks.md"
PAIRS = ROOT / "demo/pairs.jsonl"
POSTGRES = os.environ.get("TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432")
MARK = "<!-- {}: written by `make bench` -->"


def main() -> None:
    """Measure what was asked for and write its sections anew; the others stay."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--only", choices=("engine", "jobs", "store"))
    parser.add_argument("--model", type=Path, help="folder; the demo model by default")
    parser.add_argument("--data", type=Path, default=PAIRS, help="premise-hypothesis JSON lines")
    parser.add_argument("--examples", type=int, default=64, help="of the engine's benchmark")
    parser.add_argument("--job-examples", type=int, default=288)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or build(Path(folder) / "model")
        if options.only in (None, "engine"):
            publish("engine", engine_section(model, options.data, options.examples))
        if options.only in (None, "jobs"):
            publish("jobs", jobs_section(model, options.data, options.job_examples))
    if options.only in (None, "store"):
        publish("store", store_section())


def engine_section(model: Path, data: Path, examples: int) -> str:
    """The engine against the naive reference."""
    with data.open(encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    lines = lines[:: max(1, len(lines) // examples)][:examples]
    texts = [(line["premise"], line["hypothesis"]) for line in lines]
    rows = engine.run(model, texts, log=say)
    return f"{machine()}, {len(texts)} pairs\n\n{engine.table(rows)}"


def jobs_section(model: Path, data: Path, examples: int) -> str:
    """The job system against the bare engine."""
    say("job system")
    row = jobs.run(model, data, examples=examples)
    return "\n".join(
        [
            f"{machine()}, rtol 0.01",
            "",
            "| examples | bare engine | job, submit to succeeded | overhead |",
            "| ---: | ---: | ---: | ---: |",
            f"| {row.examples} | {row.engine:.1f} s | {row.job:.1f} s | {row.overhead:.1%} |",
        ]
    )


def store_section() -> str:
    """Whole-shard commits per database."""
    say("store")
    with postgres() as url:
        rows = store.run(url)
    lines = [
        machine(),
        "",
        "| database | head scores/s, whole commits | plain inserts, head scores alone | ratio |",
        "| --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r.database} | {r.commits:,.0f} | {r.plain:,.0f} | {r.commits / r.plain:.1f} |"
        for r in rows
    ]
    return "\n".join(lines)


def publish(section: str, text: str) -> None:
    """Print a section and put it between its marks in the page."""
    say(text)
    start, end = MARK.format(section), MARK.format(f"end of {section}")
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(start)
    _, _, after = rest.partition(end)
    PAGE.write_text(f"{before}{start}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def machine() -> str:
    """What the numbers were measured on."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{platform.machine()}, {os.cpu_count()} CPU cores, {device}; Python "
        f"{platform.python_version()}, torch {torch.__version__}, transformers "
        f"{transformers.__version__}"
    )


@contextmanager
def postgres() -> Iterator[str | None]:
    """A fresh PostgreSQL database; None, said aloud, where there is no server."""
    name = f"headwise_bench_{uuid.uuid4().hex[:8]}"
    try:
        admin = psycopg.connect(f"{POSTGRES}/postgres", autocommit=True, connect_timeout=3)
    except psycopg.OperationalError:
        say("no PostgreSQL here (TEST_POSTGRES): SQLite only")
        yield None
        return
    with admin:
        admin.execute(f'CREATE DATABASE "{name}"')
        try:
            yield f"{POSTGRES}/{name}".replace("postgresql://", "postgresql+psycopg://")
        finally:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def say(line: str) -> None:
    """Print at once: a benchmark takes minutes."""
    print(line, flush=True)


if __name__ == "__main__":
    main()
