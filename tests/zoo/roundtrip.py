"""A model type through every step of jobs, and back in plain transformers.

Submitted, planned and computed in this process on SQLite; the stored scores are compared with the
library's and with a naive computation, the exported models with the masked one.
"""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
)

import headwise
from benchmarks.reference import attribute_one
from cli.main import app
from db.database import Database
from headwise.attribution.quadrature import gauss_legendre
from headwise.encoding import effective_limit
from headwise.errors import FAILURES
from headwise.errors import HeadwiseError as LibraryError
from headwise.models.inputs import takes_token_types
from headwise.pruning.export import load_pruned
from jobs.errors import HeadwiseError, InputError
from jobs.settings import Settings
from tests.helpers.databases import rows, sqlite_database
from tests.helpers.inputs import model_folder
from tests.helpers.working import run, submitted
from tests.zoo.folders import TEXTS, save_data, save_model

POINTS = 4
SCORES = 1e-5
"""Largest difference of a stored score from the library's, relative to the largest."""
REFERENCE = 1e-4
"""Largest difference of the library's scores in single precision from naive ones in double."""
LOGITS = 1e-4
"""Largest difference of logits, and of mean losses, relative to the largest or 1."""


@dataclass(kw_only=True)
class Finding:
    """The outcome for a model type.

    built: there is a tiny model of the type; else its job is submitted with other weights
    refused: the words in which its job is refused; empty if it is taken
    tokenizer: the class of the tokenizer
    differences: the largest relative difference of each step
    exports: "yes" for every format that was written, or the words of its refusal
    faults: what must not be
    """

    kind: str
    built: bool = True
    refused: str = ""
    tokenizer: str = ""
    differences: dict[str, float] = field(default_factory=dict)
    exports: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def written(self) -> list[str]:
        """The formats that were exported."""
        return [form for form, words in self.exports.items() if words == "yes"]

    def compare(self, step: str, difference: float, limit: float) -> None:
        """Note a difference, which is a fault above the limit."""
        self.differences[step] = max(difference, self.differences.get(step, 0.0))
        if not difference <= limit:
            self.faults.append(f"{step} differs by {difference:.1e}")


def examine(kind: str, home: Path, formats: tuple[str, ...] = ("masked", "smaller")) -> Finding:
    """Take a model type through all steps in a new folder."""
    finding = Finding(kind=kind)
    home.mkdir(parents=True)
    try:
        save_model(kind, home / "model")
    except Exception:  # noqa: BLE001 - a configuration may raise anything
        finding.built = False
        model_folder(home / "model", model_type=kind, architectures=["ForSequenceClassification"])
    save_data(home / "pairs.jsonl")
    settings = Settings(home=home, threads=1, device="cpu")
    database = sqlite_database(home / "headwise.sqlite")
    try:
        _examine(finding, settings, database, formats)
    except LibraryError as error:
        finding.faults.append(f"the library refuses what jobs take: {error}")
    except Exception as error:  # noqa: BLE001 - what is looked for
        finding.faults.append(f"{type(error).__name__}: {error}")
    finally:
        database.close()
    return finding


def _examine(
    finding: Finding, settings: Settings, database: Database, formats: tuple[str, ...]
) -> None:
    folder = settings.home / "model"
    # Logits do not saturate, whatever a random model makes of a text.
    wanted = {"integration": f"gauss-legendre:{POINTS}", "output": "logit"}
    try:
        pairs = submitted(settings, database, kind="attribution", **wanted)
    except InputError as error:
        _refused(finding, error, folder)
        return
    single = submitted(settings, database, kind="attribution", **wanted, data=_singles(settings))
    run(settings, database, 1000.0)
    if not _succeeded(finding, database):
        return
    loaded = headwise.load(folder, device="cpu")
    finding.tokenizer = type(loaded.tokenizer).__name__
    facts = rows(database, "SELECT layers, heads FROM job WHERE id = :job", job=pairs)[0]
    if facts != (len(loaded.sites), max(site.heads for site in loaded.sites)):
        finding.faults.append(f"submitted with {facts[0]} layers of {facts[1]} heads")
    for job, texts in ((pairs, list(TEXTS)), (single, [first for first, _ in TEXTS])):
        found = headwise.attribute(loaded.model, loaded.tokenizer, texts, **wanted)
        stored = _scores(database, job, found.scores.shape)
        if not found.scores.any():
            finding.faults.append("all scores are zero")
        finding.compare("job", _difference(stored, found.scores), SCORES)
        finding.compare("reference", _to_reference(folder, texts[0], stored[0]), REFERENCE)
    _prune(finding, settings, database, pairs, formats)


def _refused(finding: Finding, error: InputError, folder: Path) -> None:
    """A refusal names the model, and the library refuses it as well."""
    finding.refused = "; ".join(problem.message for problem in error.problems)
    if {problem.field for problem in error.problems} != {"model.name"}:
        finding.faults.append(f"refused for another reason: {error}")
    if not finding.built:
        return
    try:
        loaded = headwise.load(folder, device="cpu")
        headwise.attribute(
            loaded.model, loaded.tokenizer, [TEXTS[0]], integration="gauss-legendre:2"
        )
    except LibraryError:
        return
    finding.faults.append("jobs refuse what the library takes")


def _singles(settings: Settings) -> dict[str, Any]:
    path = settings.home / "pairs.jsonl"
    return {"path": str(path), "text_columns": ["premise"], "label_column": "label"}


def _succeeded(finding: Finding, database: Database) -> bool:
    wrong = [
        *rows(database, "SELECT id, state, error FROM job WHERE state <> 'succeeded'"),
        *rows(database, "SELECT job_id, example_no, error FROM example_result WHERE error <> ''"),
    ]
    finding.faults += [str(row) for row in wrong]
    return not wrong


def _scores(database: Database, job: int, shape: tuple[int, ...]) -> np.ndarray:
    """Stored scores [E, S, H]."""
    scores = np.zeros(shape)
    statement = "SELECT example_no, site, head, score FROM head_score WHERE job_id = :job"
    for example, site, head, score in rows(database, statement, job=job):
        scores[example, site, head] = score
    return scores


def _to_reference(folder: Path, text: tuple[str, str] | str, scores: np.ndarray) -> float:
    """The difference of a text's scores [S, H] from the naive ones in double precision."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = _plain(folder, torch.float64)
    inputs = dict(tokenizer(*((text,) if isinstance(text, str) else text), return_tensors="pt"))
    if not takes_token_types(model, tokenizer):
        inputs.pop("token_type_ids", None)
    rule = gauss_legendre(POINTS)
    options: Any = {"nodes": rule.nodes, "weights": rule.weights, "share": False, "output": "logit"}
    try:
        cells = attribute_one(model, inputs, **options).attribution
    except FAILURES:
        cells = attribute_one(model, inputs, **options, written_out=True).attribution
    return _difference(scores, cells.max((2, 3)))


def _prune(
    finding: Finding, settings: Settings, database: Database, job: int, formats: tuple[str, ...]
) -> None:
    """Half of the heads less, as a job; then exported, and compared with what the job computed."""
    pruning = submitted(
        *(settings, database),
        kind="pruning",
        sources=[{"job": job, "source": "attattr"}],
        allow_overlap=True,
        random=0,
        shares=[0.5],
        directions=["least"],
    )
    run(settings, database, 1000.0)
    if not _succeeded(finding, database):
        return
    (loss,) = rows(
        database,
        "SELECT r.loss FROM mask_result r JOIN curve_point p ON p.job_id = r.job_id AND "
        "p.mask_no = r.mask_no WHERE r.job_id = :job AND p.share = 0.5",
        job=pruning,
    )[0]
    known: list[torch.Tensor] = []
    for form in formats:
        out = settings.home / form
        if refused := _exported(settings.home, pruning, form):
            finding.exports[form] = refused
            continue
        finding.exports[form] = "yes"
        if form == "onnx":
            continue  # held against torch by the export itself
        model = _plain(out) if form == "masked" else load_pruned(out, device="cpu").model
        logits = _logits(model, settings.home / "model")
        labels = torch.tensor([number % 3 for number in range(len(TEXTS))])
        mean = float(torch.nn.functional.cross_entropy(logits, labels))
        finding.compare(f"{form}: loss", abs(mean - loss) / max(1.0, abs(loss)), LOGITS)
        for other in known:
            finding.compare(form, _difference(logits.numpy(), other.numpy()), LOGITS)
        known.append(logits)


def _exported(home: Path, job: int, form: str) -> str:
    """Run `headwise prune` in this process; the words of its refusal, if it is one."""
    arguments = ["prune", str(job), "--share", "0.5", "--format", form, "--out", str(home / form)]
    with patch.dict(os.environ, HEADWISE_HOME=str(home), HEADWISE_DEVICE="cpu"):
        try:
            with redirect_stdout(io.StringIO()):
                app(arguments, standalone_mode=False)
        except HeadwiseError as error:
            return str(error)
    return ""


def _plain(folder: Path, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """The model as transformers alone reads it."""
    config = AutoConfig.from_pretrained(folder)
    config._experts_implementation = "eager"  # the grouped kernels know no double precision
    read = AutoModelForSequenceClassification.from_pretrained
    model: PreTrainedModel = read(folder, config=config, dtype=dtype)
    return model.eval()


def _logits(model: PreTrainedModel, folder: Path) -> torch.Tensor:
    """The logits of every pair, one by one, from the tokenizer's own call."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    cut: Any = {
        "truncation": "longest_first",
        "max_length": effective_limit(model, tokenizer, None),
    }
    found = []
    for pair in TEXTS:
        inputs = dict(tokenizer(*pair, return_tensors="pt", **cut))
        if not takes_token_types(model, tokenizer):
            inputs.pop("token_type_ids", None)
        with torch.no_grad():
            found.append(model(**inputs).logits)
    return torch.cat(found)


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max() / max(float(np.abs(other).max()), 1e-30))
