"""Run the benchmarks on the bundled model and data; writes docs/explanation/benchmarks.md.

    python -m benchmarks [--only engine|pruning|jobs|store|start] [--model FOLDER] [--data FILE]
    python -m benchmarks --only engine --device cuda --precision bf16  # printed, not written

Takes about a quarter of an hour. Comparisons are ratios within one run.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import headwise
from benchmarks import engine, jobs, pruning, start, store
from benchmarks.page import machine, postgres, publish, say
from demo.model import build
from headwise.precision import PRECISIONS

ROOT = Path(__file__).parents[1]
PAIRS = ROOT / "demo/pairs.jsonl"


def main() -> None:
    """Run the selected benchmarks and rewrite their sections; keep the others."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--only", choices=("engine", "pruning", "jobs", "store", "start"))
    parser.add_argument("--model", type=Path, help="folder; the demo model by default")
    parser.add_argument("--data", type=Path, default=PAIRS, help="premise-hypothesis JSON lines")
    parser.add_argument("--examples", type=int, default=64, help="of the engine's benchmark")
    parser.add_argument("--bert-examples", type=int, default=16, help="of BERT-base's shape")
    parser.add_argument("--pruning-examples", type=int, default=96)
    parser.add_argument("--job-examples", type=int, nargs="+", default=[288])
    parser.add_argument("--device", default="auto", help="of the engine's benchmark")
    parser.add_argument("--precision", choices=PRECISIONS, default=PRECISIONS[0], help="likewise")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or build(Path(folder) / "model")
        if options.only in (None, "engine"):
            usual = options.precision == "float32" and not options.device.startswith("cuda")
            publish("engine", engine_section(model, options), write=usual)
        if options.only in (None, "pruning"):
            publish("pruning", pruning_section(model, options.data, options.pruning_examples))
        if options.only in (None, "jobs"):
            publish("jobs", jobs_section(model, options.data, options.job_examples))
    if options.only in (None, "store"):
        publish("store", store_section())
    if options.only in (None, "start"):
        say("start")
        publish("start", f"{machine()}\n\n{start.section()}")


def engine_section(model: Path, options: argparse.Namespace) -> str:
    """The engine against others, on the demo model and on BERT-base's shape."""
    loaded = headwise.load(model, device=options.device)
    small = engine.Setting(
        model=loaded.model,
        tokenizer=loaded.tokenizer,
        texts=some_pairs(options.data, options.examples),
        precision=options.precision,
    )
    say("demo model" if options.model is None else str(options.model))
    demo = engine.run(small, log=say)
    tokenizer = loaded.tokenizer
    large = replace(
        small,
        model=engine.bert_base(len(tokenizer), int(tokenizer.pad_token_id), loaded.model.device),
        texts=some_pairs(options.data, options.bert_examples),
    )
    say("BERT-base's shape")
    bert = engine.run(large, exact_examples=4, exact=engine.EXACT_SMOOTH, log=say)
    return "\n\n".join(
        [
            machine(loaded.model.device),
            heading("Demo model" if options.model is None else model.name, small, demo),
            engine.page(demo),
            heading("BERT-base's shape, freshly initialised", large, bert),
            engine.page(bert),
        ]
    )


def some_pairs(data: Path, count: int) -> list[tuple[str, str]]:
    """Pick pairs at even intervals, so that they are not all from one source."""
    with data.open(encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    lines = lines[:: max(1, len(lines) // count)][:count]
    return [(line["premise"], line["hypothesis"]) for line in lines]


def heading(name: str, setting: engine.Setting, report: engine.Report) -> str:
    """The heading of a table: its model and texts."""
    config = setting.model.config
    return (
        f"### {name}\n\n{config.num_hidden_layers} layers, {config.num_attention_heads} heads, "
        f"{config.hidden_size} wide; {len(report.lengths)} pairs of {report.lengths.mean():.1f} "
        "word pieces on average"
    )


def pruning_section(model: Path, data: Path, examples: int) -> str:
    """Masked evaluations against plain forward passes."""
    say("pruning")
    loaded = headwise.load(str(model))
    report = pruning.run(loaded.model, loaded.tokenizer, some_pairs(data, examples), log=say)
    return f"{machine(loaded.model.device)}; {report.examples} pairs\n\n{pruning.table(report)}"


def jobs_section(model: Path, data: Path, examples: list[int]) -> str:
    """The job system against the bare engine."""
    say("job system")
    lines = [
        f"{machine()}, rtol 0.01",
        "",
        "| examples | one call, s | job, s | first results, s | price of a job "
        "| processor time of the call, s | of the job, s | price |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in jobs.run(model, data, examples=examples):
        engine, job = row.engine, row.job
        lines.append(
            f"| {row.examples} | {engine.seconds:.2f} | {job.seconds:.2f} | {job.first:.2f} "
            f"| {row.overhead:.1%} | {engine.processor:.2f} | {job.processor:.2f} "
            f"| {row.processor_overhead:.1%} |"
        )
    return "\n".join(lines)


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


if __name__ == "__main__":
    main()
