"""`make demo`: the whole system on this machine, on the bundled model and data.

Builds the demo model, starts the embedded stack, submits a small study, shows the progress of its
steps and what it found, and serves the dashboard until Ctrl-C (with --exit it ends instead). With
--verbose the ten most important heads and the strongest pairs of an example are printed, too.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from rich.table import Table

from cli.commands.processes import check_port, children, prepare
from cli.context import fail, out
from cli.progress import watch
from cli.store.local import LocalStore
from cli.supervisor import Supervisor
from db.console.console import Console
from db.database import Database
from demo.model import DemoModelError, build
from jobs.errors import HeadwiseError
from jobs.settings import Settings, load_settings
from scheduler.submission.presets import DEMO_DATA, DEMO_MODEL
from scheduler.submission.study import Study, check_study, submit_study

STUDY: dict[str, object] = {
    "examples": 192,
    "parts": ["taylor", "pruning", "attack"],
    "steps": 5,
    "within": None,
    "triggers": 1,
}
"""Heads are ranked and triggers mined on two thirds of the pairs, and evaluated on the rest."""

VERBOSE = "--verbose"

SHARE = 0.4
"""The share of removed heads of which the demo's finding tells."""

FIRST_HEAD = "SELECT layer, head, mean FROM head_importance WHERE job_id = {job} AND rank = 1"

PRUNED = """
SELECT removed, share, accuracy FROM pruning_points
WHERE job_id = {job} AND source = 'attattr' AND direction = 'least' AND scope = 'global'
ORDER BY removed
"""

FIRST_PAIR = """
SELECT e.text_a, e.text_b, t.query_word, t.key_word
FROM token_edges t JOIN examples e ON e.job_id = t.job_id AND e.example = t.example
WHERE t.job_id = {job} AND e.predicted = e.gold AND t.query_word <> t.key_word
ORDER BY t.attribution DESC LIMIT 1
"""

TOP_HEADS = """
SELECT rank, layer, head, mean, low, high, mean_attention_max FROM head_importance
WHERE job_id = {job} ORDER BY rank LIMIT 10
"""

BEST_EXAMPLE = """
SELECT e.example, e.text_a, e.text_b, j.labels, e.predicted, e.probabilities
FROM token_edges t JOIN examples e ON e.job_id = t.job_id AND e.example = t.example
JOIN jobs j ON j.job_id = e.job_id
WHERE t.job_id = {job} AND e.predicted = e.gold
  AND t.query_word IS NOT NULL AND t.key_word IS NOT NULL
ORDER BY t.attribution DESC LIMIT 1
"""

EDGES = """
SELECT rank, layer, head, query_token, key_token, attribution, attention FROM token_edges
WHERE job_id = {job} AND example = {example} ORDER BY rank LIMIT 8
"""


def main() -> int:
    """Run the demo; returns the exit status."""
    try:
        loaded = load_settings()
        # That processes start is for their logs; here it would be between the lines that matter.
        quiet = {} if VERBOSE in sys.argv[1:] else {"log_level": "warning"}
        settings = prepare(loaded.model_copy(update=quiet), patience=0)
        check_port(settings)
        out.print("Preparing the bundled model and 288 sentence pairs.")
        install(settings)
    except (HeadwiseError, DemoModelError) as error:
        return fail(HeadwiseError(str(error)))
    supervisor = Supervisor(children(1, log_folder=settings.home / "logs"))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop.set())
    stack = threading.Thread(target=supervisor.supervise)
    stack.start()
    try:
        return run_demo(settings, supervisor, leave="--exit" in sys.argv[1:])
    except HeadwiseError as error:
        return fail(error)
    finally:
        supervisor.stop.set()
        stack.join()


def install(settings: Settings) -> None:
    """Put the demo model and data into the data folder."""
    build(settings.home / DEMO_MODEL)
    target = settings.home / DEMO_DATA
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(__file__).parent / "pairs.jsonl", target)


def run_demo(settings: Settings, supervisor: Supervisor, *, leave: bool) -> int:
    """Submit the study, follow it, show its results; then serve until told to stop."""
    database = Database(settings.database)
    try:
        study = submit_study(check_study(raw_study(settings), settings, database), database)
        out.print("Measuring which heads matter, what pruning costs, and which words mislead:")
        status = watch(LocalStore(settings, database), study.jobs, supervisor.stop)
        if status == 0:
            if VERBOSE in sys.argv[1:]:
                show_results(Console(settings), study.jobs["attribution"])
            show_findings(Console(settings), study.jobs)
    finally:
        database.close()
    show_addresses(f"http://{settings.host}:{settings.port}", study)
    if status:
        out.print(f"What went wrong is in {settings.home / 'logs'}.")
    if not leave and not supervisor.stop.is_set():
        out.print("Press Ctrl-C to stop everything.")
        supervisor.stop.wait()
    return status


def show_findings(console: Console, jobs: Mapping[str, int]) -> None:
    """Print three findings: the head that matters most, what pruning costs, and a pair of words."""
    out.print()
    ranked, curve = jobs["attribution"], jobs["pruning"]
    layer, head, mean = rows(console, FIRST_HEAD.format(job=ranked))[0]
    out.print(f"- Head {head} of layer {layer} matters most: on average its strongest pair adds")
    out.print(f"  {mean:.3f} to the probability of the prediction.")
    whole, *pruned = rows(console, PRUNED.format(job=curve))
    removed, share, accuracy = min(pruned, key=lambda row: abs(float(str(row[1])) - SHARE))
    out.print(f"- Without the {removed} heads that matter least ({share:.0%}) the model is right")
    out.print(f"  on {accuracy:.0%} of new pairs, with all heads on {whole[2]:.0%}.")
    for premise, hypothesis, query, key in rows(console, FIRST_PAIR.format(job=ranked)):
        out.print(f"- “{premise}” / “{hypothesis}”", markup=False)
        out.print(f"  Its strongest pair: “{query}” reads “{key}”.", markup=False)


def show_addresses(dashboard: str, study: Study) -> None:
    """Print where to go on."""
    out.print()
    addresses = {
        "The study": f"/studies/{study.study}",
        "Its words and heads": f"/jobs/{study.jobs['attribution']}",
        "SQL": "/sql",
        "Your own model": "/jobs/new",
    }
    for title, path in addresses.items():
        out.print(f"{title + ':':21}{dashboard}{path}", highlight=False)


def raw_study(settings: Settings) -> dict[str, object]:
    """Describe the demo's study, on the model and data in the data folder."""
    data = {
        "path": str(settings.home / DEMO_DATA),
        "text_columns": ["premise", "hypothesis"],
        "label_column": "label",
    }
    model = {"name": str(settings.home / DEMO_MODEL)}
    return {"name": "demo", "spec": {"model": model, "data": data, **STUDY}}


def show_results(console: Console, job: int) -> None:
    """Print the ten most important heads, and the strongest token pairs of one example."""
    heads = Table("rank", "layer", "head", "importance", "95 % interval", "attention max")
    for rank, layer, head, mean, low, high, attention in rows(console, TOP_HEADS.format(job=job)):
        interval = f"{low:.4f} to {high:.4f}"
        heads.add_row(str(rank), str(layer), str(head), f"{mean:.4f}", interval, f"{attention:.3f}")
    heads.title = "The ten most important heads (mean of the largest attribution)"
    out.print(heads)
    best = rows(console, BEST_EXAMPLE.format(job=job))
    if not best:
        return
    example, premise, hypothesis, labels, predicted, probabilities = best[0]
    out.print(f"\nExample {example}: {premise!r} / {hypothesis!r}", markup=False)
    names, shares = json.loads(str(labels)), json.loads(str(probabilities))
    listed = ", ".join(f"{name} {share:.1%}" for name, share in zip(names, shares, strict=True))
    out.print(f"predicted {names[int(str(predicted))]} ({listed})", markup=False)
    edges = Table("rank", "layer", "head", "token", "attends to", "attribution", "attention")
    for rank, layer, head, query, key, value, attention in rows(
        console, EDGES.format(job=job, example=int(str(example)))
    ):
        place = (str(rank), str(layer), str(head), str(query), str(key))
        edges.add_row(*place, f"{value:.4f}", f"{attention:.3f}")
    edges.title = f"Its strongest token pairs (example {example})"
    out.print(edges)


def rows(console: Console, query: str) -> list[tuple[object, ...]]:
    """Query the published views, as any user would."""
    return console.run(query).rows


if __name__ == "__main__":
    sys.exit(main())
