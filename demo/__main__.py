"""`make demo`: the whole system on this machine, on the bundled model and data.

Builds the demo model, starts the embedded stack, submits a small study, shows the progress of its
steps and their findings, and serves the dashboard until Ctrl-C (with --exit it ends instead).
"""

from __future__ import annotations

import shutil
import signal
import sys
import threading
from pathlib import Path

from rich.table import Table

from cli.commands.processes import check_port, children, prepare
from cli.context import fail, out
from cli.progress import watch
from cli.supervisor import Supervisor
from db.console.console import Console
from db.database import Database
from demo.model import DemoModelError, build
from jobs.errors import HeadwiseError
from jobs.settings import Settings, load_settings
from scheduler.serializers import study_json
from scheduler.submission.presets import DEMO_DATA, DEMO_MODEL
from scheduler.submission.study import check_study, submit_study

STUDY: dict[str, object] = {
    "examples": 192,
    "parts": ["taylor", "pruning", "attack"],
    "steps": 5,
    "within": None,
    "triggers": 1,
}
"""Heads are ranked and triggers mined on two thirds of the pairs, and evaluated on the rest."""

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
        settings = prepare(load_settings(), patience=0)
        check_port(settings)
        out.print("Preparing the demo model …")
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
    address = f"http://{settings.host}:{settings.port}"
    database = Database(settings.database)
    try:
        study = submit_study(check_study(raw_study(settings), settings, database), database)
        address += f"/studies/{study.study}"
        out.print(f"Dashboard: {address}")
        status = watch(database, study.jobs, supervisor.stop)
        if status == 0:
            show_results(Console(settings), study.jobs["attribution"])
            show_findings(study_json(database, study.study)["findings"])
    finally:
        database.close()
    out.print(f"\nDashboard: {address}   Logs: {settings.home / 'logs'}")
    if not leave and not supervisor.stop.is_set():
        out.print("Press Ctrl-C to stop everything.")
        supervisor.stop.wait()
    return status


def raw_study(settings: Settings) -> dict[str, object]:
    """Describe the demo's study, on the model and data in the data folder."""
    data = {
        "path": str(settings.home / DEMO_DATA),
        "text_columns": ["premise", "hypothesis"],
        "label_column": "label",
    }
    model = {"name": str(settings.home / DEMO_MODEL)}
    return {"name": "demo", "spec": {"model": model, "data": data, **STUDY}}


def show_findings(findings: dict[str, list[str]]) -> None:
    """Print the findings of pruning and attack."""
    for step in ("pruning", "attack"):
        out.print()
        for sentence in findings.get(step, ()):
            out.print(sentence)


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
    out.print(f"predicted {predicted} of {labels}, probabilities {probabilities}", markup=False)
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
