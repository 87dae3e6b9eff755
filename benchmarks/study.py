"""The paper's study on real models: ``python -m benchmarks.study --shared FOLDER``.

Importance of heads by several sources, pruning curves on other examples, triggers mined from
training texts and tried on others, each against controls. The numbers go to a JSON file
(``--results``), docs/explanation/study.md and its pictures are written from it. The results of
each finished task are kept, so that an interrupted run continues with the next task.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import headwise
from benchmarks import study_page
from headwise.pruning.curve import Point, choose, curve_points
from headwise.pruning.importance import attribution_values, leave_one_out, random_importance, taylor
from headwise.pruning.masking import evaluate_masks
from headwise.replay import Replay
from headwise.segmentation import Segmentation
from headwise.stats.attack import AttackSums
from headwise.stats.ranking import Importance, ImportanceSums, correlation
from headwise.stats.sums import MaskSums
from headwise.targets import label_names
from jobs.kinds.triggers import (
    OFFICIAL,
    Candidate,
    Cell,
    TextTokens,
    Trigger,
    merge,
    random_controls,
)

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One data set with the model fine-tuned on it."""

    name: str
    model: str
    dev: str
    train: str
    columns: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Numbers of examples, of random draws and of triggers per class; the seed of all samples."""

    importance: int = 200
    pruning: int = 400
    mining: int = 300
    attack: int = 600
    draws: int = 3
    triggers: int = 5
    steps: int = 10
    rtol: float = 1e-2
    seed: int = 0


TASKS = (
    Task(
        name="MNLI",
        model="nli-minilm",
        dev="mnli/dev_matched.jsonl",
        train="mnli/train.jsonl",
        columns=("premise", "hypothesis"),
    ),
    Task(
        name="SST-2",
        model="sst2-minilm",
        dev="sst2/dev.jsonl",
        train="sst2/train_heldout.jsonl",
        columns=("text",),
    ),
)
WITHIN = (1, 2, 3, 6)
"""Heads of each layer that the paper's second test removes."""
LOSS = 2.0
"""Points of accuracy that the chosen mask may lose."""


class Study:
    """One task's model and samples, and the parts of its study."""

    def __init__(self, task: Task, shared: Path, sizes: Sizes) -> None:
        self.task, self.sizes = task, sizes
        self.loaded = headwise.load(str(shared / "models" / task.model), dtype="float32")
        self.labels = label_names(self.loaded.model)
        dev = _sample(shared / "datasets" / task.dev, sizes.seed)
        cuts = np.cumsum([sizes.importance, sizes.pruning, sizes.pruning, sizes.attack])
        self.ranked = dev[: cuts[0]]
        self.pruned, self.held_out = dev[cuts[0] : cuts[1]], dev[cuts[1] : cuts[2]]
        # Attacked texts may be those of the pruning: nothing was chosen on them for the attack.
        self.attacked = dev[cuts[0] : cuts[0] + sizes.attack]
        self.mined = _sample(shared / "datasets" / task.train, sizes.seed)[: sizes.mining]

    def texts(self, rows: Sequence[Row]) -> list[headwise.Text]:
        columns = self.task.columns
        if len(columns) == 1:
            return [row[columns[0]] for row in rows]
        return [(row[columns[0]], row[columns[1]]) for row in rows]

    def both(self, rows: Sequence[Row]) -> tuple[list[headwise.Text], list[str]]:
        """Texts and gold labels."""
        return self.texts(rows), [row["label"] for row in rows]

    def run(self) -> dict[str, Any]:
        """All results for the page from this task."""
        started = time.monotonic()
        importances = self.importances()
        result = {
            "labels": self.labels,
            "importance": [_ranking(importance) for importance in importances],
            "correlation": [
                {"a": a.source, "b": b.source, **asdict(correlation(a.mean, b.mean))}
                for i, a in enumerate(importances)
                for b in importances[:i]
            ],
            **self.pruning(importances),
            "attack": self.attack(),
        }
        return {**result, "seconds": time.monotonic() - started}

    def importances(self) -> list[Importance]:
        model, tokenizer = self.loaded.model, self.loaded.tokenizer
        texts, gold = self.both(self.ranked)
        found = headwise.attribute(
            model, tokenizer, texts, target="gold", gold=gold, rtol=self.sizes.rtol, matrices=False
        )
        _say("attribution")
        values = {
            source: attribution_values(found, source)
            for source in ("attattr", "attattr-total", "attention")
        }
        values["taylor"] = taylor(model, tokenizer, texts, gold)
        left = leave_one_out(model, tokenizer, texts, gold)
        values |= {"leave-one-out-loss": left.loss, "leave-one-out-accuracy": left.accuracy}
        _say("Taylor, leave-one-out")
        numbers = np.arange(len(texts))
        return [
            ImportanceSums.of(value, numbers).importance(source) for source, value in values.items()
        ]

    def pruning(self, importances: Sequence[Importance]) -> dict[str, Any]:
        model, tokenizer, sizes = self.loaded.model, self.loaded.tokenizer, self.sizes
        with Replay(model) as replay:
            sites = replay.sites
        draws = [random_importance(sites, sizes.seed, draw) for draw in range(sizes.draws)]
        ranked = {importance.source: importance for importance in importances}
        every: dict[str, Importance | Sequence[NDArray[np.float64]]] = {**ranked, "random": draws}
        shares = [step / sizes.steps for step in range(sizes.steps + 1)]
        whole, masks = curve_points(every, shares=shares)
        layers, more = curve_points(
            {source: every[source] for source in ("attattr", "taylor", "random")},
            steps=[0, *WITHIN],
            within_layer=True,
        )
        texts, gold = self.both(self.pruned)
        sums = evaluate_masks(model, tokenizer, texts, gold, np.concatenate([masks, more])).sums()
        _say("pruning")
        chosen = choose(
            model,
            tokenizer,
            (texts, gold),
            self.both(self.held_out),
            ranked["attattr"],
            LOSS,
            steps=range(0, sum(site.heads for site in sites) + 1, 3),
        )
        _say("choice")
        return {
            "curve": [_point(point, point.mask, sums) for point in whole],
            "within_layer": [_point(point, len(masks) + point.mask, sums) for point in layers],
            "chosen": {
                "removed": chosen.removed,
                "heads": int(sum(site.heads for site in sites)),
                "verified": chosen.verified,
                "accuracy": np.stack(chosen.held_out.accuracy(), -1).tolist(),
            },
        }

    def attack(self) -> list[dict[str, Any]]:
        """Try all kinds of triggers against every class, with equally many candidates of each."""
        mined, tokens = self.mine()
        texts = self.texts(self.mined)
        origins = [trigger.sources[0].example for trigger in mined]
        attended = headwise.attention_cells(
            self.loaded.model, self.loaded.tokenizer, [texts[e] for e in origins]
        )
        by_attention = [
            self._trigger(trigger.label, example, tokens[example], found.cells)
            for trigger, example, found in zip(mined, origins, attended, strict=True)
        ]
        kinds = {
            "attribution": mined,
            "raw attention": [trigger for found in by_attention for trigger in found],
            "random": random_controls(mined, {(0, e): tokens[e] for e in origins}, self.sizes.seed),
        }
        rows: list[dict[str, Any]] = []
        for segments in ("both", "premise") if len(self.task.columns) == 2 else ("both",):
            for kind, triggers in kinds.items():
                rows += self._attacked(kind, triggers, segments)
                _say(f"attack by {kind}, {segments}")
        return rows

    def mine(self) -> tuple[list[Trigger], dict[int, TextTokens]]:
        """Triggers mined by the rule of the paper's code, and the tokens of their source texts."""
        texts = self.texts(self.mined)
        found = headwise.attribute(
            self.loaded.model,
            self.loaded.tokenizer,
            texts,
            edges=64,
            rtol=self.sizes.rtol,
            matrices=False,
        )
        _say("triggers")
        tokens = {
            example: _text_tokens(
                found.tokens[example],
                texts[example],
                Segmentation(
                    word_index=found.word_index[example], spans=found.token_spans[example]
                ),
            )
            for example in range(len(found))
        }
        triggers: list[Trigger] = []
        for example, edges in enumerate(found.edges()):
            of_head = [e for e in edges if (e.site, e.head) == (edges[0].site, edges[0].head)]
            kept = of_head[: OFFICIAL.cells]
            if sum(edge.value for edge in kept) >= OFFICIAL.threshold:
                strong = [edge for edge in kept if edge.value >= OFFICIAL.ratio * kept[0].value]
                label = int(found.predicted[example])
                triggers += self._trigger(label, example, tokens[example], strong)
        # The strongest of each class; the same tokens of several texts count once.
        chosen: dict[tuple[int, tuple[str, ...]], Trigger] = {}
        for trigger in sorted(triggers, key=lambda trigger: -trigger.max_score):
            words = tuple(token.token for token in trigger.tokens)
            of_class = [label for label, _ in chosen if label == trigger.label]
            if len(of_class) < self.sizes.triggers:
                chosen.setdefault((trigger.label, words), trigger)
        return list(chosen.values()), tokens

    def _trigger(
        self,
        label: int,
        example: int,
        tokens: TextTokens,
        cells: Sequence[headwise.Edge | headwise.AttentionCell],
    ) -> list[Trigger]:
        """A trigger from these cells, or none where they contain only special tokens."""
        places = [
            Cell(
                layer=c.site.layer,
                attention_type=c.site.attention_type,
                head=c.head,
                query=c.query,
                key=c.key,
                value=c.value,
            )
            for c in cells
        ]
        candidate = Candidate(
            job=0,
            example=example,
            label=label,
            tokens=tokens,
            cells=tuple(places),
            score=sum(cell.value for cell in places),
        )
        return merge([candidate])

    def _attacked(
        self, kind: str, triggers: Sequence[Trigger], segments: str
    ) -> list[dict[str, Any]]:
        """Per class, the best trigger on even texts tried on odd ones; the mean of all."""
        texts, gold = self.both(self.attacked)
        found = headwise.evaluate_triggers(
            self.loaded.model,
            self.loaded.tokenizer,
            texts,
            gold,
            [trigger.tokens for trigger in triggers],
            segments=segments,
        )
        halves = [
            AttackSums.of(
                found.gold[half::2],
                found.before[half::2],
                found.after[:, half::2],
                len(self.labels),
            )
            for half in (0, 1)
        ]
        rows = []
        for label, name in enumerate(self.labels):
            best = halves[0].best(label, 1)
            if not best:
                continue
            sums = halves[1]
            success = sums.success()
            rows.append(
                {
                    "kind": kind,
                    "segments": segments,
                    "label": name,
                    "triggers": len(triggers),
                    "n": int(sums.n[best[0], label]),
                    "trigger": " ".join(token.token for token in triggers[best[0]].tokens),
                    "before": [float(part[best[0], label]) for part in sums.accuracy_before()],
                    "after": [float(part[best[0], label]) for part in sums.accuracy_after()],
                    "success": [float(part[best[0], label]) for part in success],
                    "mean_success": float(np.nanmean(success.value[:, label])),
                }
            )
        return rows


def _sample(path: Path, seed: int) -> list[Row]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    order = np.random.default_rng(seed).permutation(len(rows))
    return [rows[place] for place in order]


def _ranking(importance: Importance) -> dict[str, Any]:
    fields = ("mean", "standard_error", "rank", "rank_low", "rank_high")
    return {
        "source": importance.source,
        "n": importance.n,
        **{name: np.asarray(getattr(importance, name)).tolist() for name in fields},
    }


def _point(point: Point, mask: int, sums: MaskSums) -> dict[str, Any]:
    estimates = {"accuracy": sums.accuracy(), "loss": sums.loss(), "macro_f1": sums.macro_f1()}
    return {
        "source": point.source,
        "draw": point.draw,
        "direction": point.direction,
        "removed": point.removed,
        "share": point.share,
        **{name: [float(part[mask]) for part in value] for name, value in estimates.items()},
    }


def _text_tokens(tokens: Sequence[str], text: headwise.Text, words: Segmentation) -> TextTokens:
    made = TextTokens.of(tokens, (text,) if isinstance(text, str) else text, words)
    assert made is not None, "the words are known"
    return made


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shared", type=Path, help="folder with models/ and datasets/")
    parser.add_argument("--results", type=Path, default=Path("study.json"))
    parser.add_argument("--page", type=Path, default=Path("docs/explanation/study.md"))
    for name, default in asdict(Sizes()).items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    given = vars(parser.parse_args())
    sizes = Sizes(**{name: given[name] for name in asdict(Sizes())})
    results: dict[str, Any] = {"sizes": asdict(sizes), "tasks": {}}
    if given["results"].exists():
        results = json.loads(given["results"].read_text())
    for task in TASKS if given["shared"] else ():
        if task.name not in results["tasks"]:
            print(task.name, flush=True)
            results["tasks"][task.name] = Study(task, given["shared"], sizes).run()
            given["results"].write_text(json.dumps(results))
    study_page.write(results, given["page"])


if __name__ == "__main__":
    main()
