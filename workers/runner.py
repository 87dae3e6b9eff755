"""Runs one shard: texts in, numbers out. The only place where jobs meet the engine."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import headwise
from db.store import ShardInput
from headwise import Attribution, LoadedModel
from jobs.data import allowed_path
from jobs.outcome import Completed
from jobs.results import ExampleResult, ShardResult, SiteInfo
from jobs.settings import Settings
from jobs.spec import AttributionSpec, parse_spec

Progress = Callable[[int], None]


class ModelCache:
    """The one model that this process has loaded."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._key: tuple[str, str | None, str, str] | None = None
        self._loaded: LoadedModel | None = None

    def get(self, spec: AttributionSpec) -> LoadedModel:
        """The spec's model; loading another one drops the last first, to have memory for it."""
        device = self.settings.device if spec.device == "auto" else spec.device
        name = spec.model.name
        if spec.model.is_local:
            name = str(allowed_path("model.name", name, self.settings))
        key = (name, spec.model.revision, spec.dtype, device)
        if self._loaded is None or self._key != key:
            self._loaded = None
            self._loaded = headwise.load(
                name, revision=spec.model.revision, dtype=spec.dtype, device=device
            )
            self._key = key
        return self._loaded


@dataclass(frozen=True, kw_only=True)
class Computed:
    """A finished computation and the fingerprint of the model that made it."""

    completed: Completed
    fingerprint: str


def run_shard(shard: ShardInput, models: ModelCache, progress: Progress) -> Computed:
    """Attribute every example of a shard. `progress(done)` may raise to stop it."""
    spec = parse_spec(json.loads(shard.spec))
    progress(0)
    loaded = models.get(spec)
    progress(0)
    started = time.monotonic()
    pairs = len(spec.data.text_columns) == 2
    result = headwise.attribute(
        loaded.model,
        loaded.tokenizer,
        [(a, b or "") if pairs else a for a, b in shard.texts],
        target=spec.target,
        gold=[0 if label is None else label for label in shard.gold],
        output=spec.output,
        integration=spec.integration,
        rtol=spec.rtol,
        max_points=spec.max_points,
        max_length=spec.max_length,
        edges=spec.edges,
        matrices=False,
        progress=lambda done, _total: progress(done),
    )
    seconds = time.monotonic() - started
    completed = Completed(result=shard_result(result), seconds=seconds)
    return Computed(completed=completed, fingerprint=loaded.fingerprint)


def shard_result(result: Attribution) -> ShardResult:
    """The engine's result as the store takes it."""
    return ShardResult(
        sites=tuple(
            SiteInfo(layer=site.layer, kind=site.kind, heads=site.heads, name=site.name)
            for site in result.sites
        ),
        examples=tuple(_example(result, number) for number in range(len(result))),
        score=result.scores,
        total=result.totals,
        query=result.positions[..., 0],
        key=result.positions[..., 1],
        attention_max=result.attention_max,
        attention_mean=result.attention_mean,
        f0=result.f0,
        f1=result.f1,
        residual=result.residual,
        points=result.points,
        converged=result.converged,
        edge_site=result.edge_site,
        edge_head=result.edge_head,
        edge_query=result.edge_query,
        edge_key=result.edge_key,
        edge_value=result.edge_value,
        edge_attention=result.edge_attention,
    )


def _example(result: Attribution, number: int) -> ExampleResult:
    error = result.errors[number]
    failed = error is not None
    by_token = result.token_attribution[number]
    return ExampleResult(
        predicted=None if failed else int(result.predicted[number]),
        target=None if failed else int(result.target[number]),
        probabilities=() if failed else tuple(map(float, result.probabilities[number])),
        tokens=result.tokens[number],
        token_attribution=None if by_token is None else by_token.tolist(),
        truncated=bool(result.truncated[number]),
        error=error,
    )
