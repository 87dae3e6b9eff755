"""A block of a shard: what the function that computes it for one kind of job receives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from db.results.commit import ShardInput
from headwise import LoadedModel, Site
from headwise.options import Partial
from jobs.results.base import SiteInfo
from jobs.specs.base import JobSpec
from workers.model_cache import ModelCache

S = TypeVar("S", bound=JobSpec)

Progress = Callable[[int], None]
"""Takes the examples that a stop now would keep; raises Stopped to end the attempt."""


@dataclass(frozen=True, kw_only=True)
class Block(Generic[S]):
    """A block of a shard to compute."""

    spec: S
    shard: ShardInput
    """The block's examples."""
    loaded: LoadedModel
    models: ModelCache
    """For kinds of jobs that evaluate several models."""
    progress: Callable[[], None]
    """Call it after every pass; it raises Stopped to end the attempt."""
    partial: Partial
    """For functions of `headwise` that take it: what they have finished survives a stop. Without
    it, a stopped block is computed again from its beginning, and counts as progress when it is
    done."""
    prepared: Callable[[], Any] = lambda: None
    """Gives what the kind's `prepare` gave for this block, and raises what it raised."""
    kept: frozenset[int] = frozenset()
    """Places in the block of the examples that earlier attempts have finished."""

    @property
    def rows(self) -> list[int]:
        """Places in the block of the examples that this attempt computed, ascending."""
        stopped = self.partial.stopped is not None
        places = self.partial.finished if stopped else range(len(self.shard.texts))
        return sorted(set(places) - self.kept)

    @property
    def sites(self) -> tuple[SiteInfo, ...]:
        """The attention modules of the model."""
        return site_infos(self.loaded.sites)

    @property
    def inputs(self) -> list[str] | list[tuple[str, str]]:
        """The texts, as pairs where the specification has two columns."""
        return inputs(self.spec, self.shard)

    @property
    def gold(self) -> list[int]:
        """Gold labels; 0 where there is none, which kinds that need labels refuse at submission."""
        return [0 if label is None else label for label in self.shard.gold]


def inputs(spec: JobSpec, shard: ShardInput) -> list[str] | list[tuple[str, str]]:
    """Return the texts of some examples, as pairs where the specification has two columns."""
    if len(spec.data.text_columns) == 2:
        return [(a, b or "") for a, b in shard.texts]
    return [a for a, _ in shard.texts]


def site_infos(sites: Sequence[Site]) -> tuple[SiteInfo, ...]:
    """The engine's attention modules as results hold them."""
    return tuple(
        SiteInfo(
            layer=site.layer, attention_type=site.attention_type, heads=site.heads, name=site.name
        )
        for site in sites
    )
