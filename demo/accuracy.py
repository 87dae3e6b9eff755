"""Accuracy of a sequence classifier on labelled text pairs.

    python -m demo.accuracy MODEL_DIR DATA.jsonl [--limit N] [--errors] [--threads N]

Each line of the data is an object with "premise", "hypothesis" and "label", the last being one
of the model's label names.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

BATCH_TOKENS = 2048


class Pair(NamedTuple):
    """A premise, a hypothesis and the label that a careful reader gives them."""

    premise: str
    hypothesis: str
    label: str


def read_pairs(path: Path, limit: int | None = None) -> list[Pair]:
    """Read the first `limit` pairs of a JSONL file (all by default).

    Raises:
        ValueError: a line is not a JSON object with the three texts; names file and line.
    """
    pairs: list[Pair] = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if limit is not None and len(pairs) == limit:
                break
            try:
                row = json.loads(line)
                pairs.append(Pair(row["premise"], row["hypothesis"], row["label"]))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{path}, line {number}: expected an object with premise, hypothesis and "
                    f"label ({error!r})"
                ) from error
    return pairs


def batches(lengths: Sequence[int], budget: int = BATCH_TOKENS) -> Iterator[list[int]]:
    """Yield indices in batches of similar length, of at most `budget` tokens with padding.

    A row longer than the budget is a batch of its own.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[index] > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def logits(folder: Path, pairs: Sequence[Pair], console: Console | None = None) -> torch.Tensor:
    """Compute logits, float32 [pairs, classes], in the order of the pairs."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model: Any = AutoModelForSequenceClassification.from_pretrained(
        folder, local_files_only=True, dtype=torch.float32
    )
    model.eval()
    texts = ([pair.premise for pair in pairs], [pair.hypothesis for pair in pairs])
    encoded = tokenizer(*texts, truncation=True, max_length=model.config.max_position_embeddings)
    result = torch.empty(len(pairs), model.config.num_labels)
    groups = list(batches([len(ids) for ids in encoded["input_ids"]]))
    console = console or Console(quiet=True)
    with torch.inference_mode():
        for group in track(groups, "Classifying", console=console):
            columns = {key: [values[index] for index in group] for key, values in encoded.items()}
            result[group] = model(**tokenizer.pad(columns, return_tensors="pt")).logits
    return result


def confusion(predicted: Sequence[int], gold: Sequence[int], classes: int) -> torch.Tensor:
    """Count pairs, int64 [classes, classes], by gold label (rows) and predicted label (columns)."""
    cells = torch.tensor(gold) * classes + torch.tensor(predicted)
    return torch.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def main() -> None:
    """Command line: print the accuracy and the confusion table."""
    parser = argparse.ArgumentParser(description="Accuracy of a classifier on labelled pairs.")
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int, help="only the first pairs")
    parser.add_argument("--errors", action="store_true", help="list the pairs it gets wrong")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    disable_progress_bar()
    labels = _label_names(options.model)
    pairs = read_pairs(options.data, options.limit)
    unknown = {pair.label for pair in pairs}.difference(labels)
    if unknown:
        parser.error(f"{options.data} has labels {sorted(unknown)}, the model only {labels}")
    if not pairs:
        parser.error(f"{options.data} contains no pairs")
    console = Console()
    scores = logits(options.model, pairs, console)
    predicted = scores.argmax(dim=1).tolist()
    gold = [labels.index(pair.label) for pair in pairs]
    if options.errors:
        for number, (pair, row) in enumerate(zip(pairs, scores.softmax(dim=1), strict=True), 1):
            guess = labels[int(row.argmax())]
            if guess != pair.label:
                shown = " ".join(f"{value:.2f}" for value in row.tolist())
                console.print(f"{number}. {pair.label}, not {guess} ({shown})")
                console.print(f"   {pair.premise}\n   {pair.hypothesis}", style="dim", markup=False)
    _report(console, confusion(predicted, gold, len(labels)), labels)


def _label_names(folder: Path) -> list[str]:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    return [config["id2label"][str(index)] for index in range(len(config["id2label"]))]


def _report(console: Console, counts: torch.Tensor, labels: Sequence[str]) -> None:
    table = Table("gold \\ predicted", *labels, "recall")
    for label, row in zip(labels, counts.tolist(), strict=True):
        right, total = row[labels.index(label)], sum(row)
        recall = f"{right / total:.1%}" if total else "-"
        table.add_row(label, *(str(count) for count in row), recall)
    console.print(table)
    right, total = int(counts.trace()), int(counts.sum())
    console.print(f"accuracy {right / total:.2%} ({right} of {total})")


if __name__ == "__main__":
    main()
