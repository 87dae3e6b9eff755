"""The kinds of jobs.

A kind has a module of the same name in every layer: here its specification and the result of a
shard, in `db.kinds` what it stores, in `workers.kinds` what computes it, in `webui.kinds` its form
and its part of a job's page. See docs/explanation/architecture.md, "Adding a kind".
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from jobs.results.base import ShardResult
from jobs.specs.base import JobSpec, RankingSource

NAMES = ("attribution", "importance", "pruning", "attack")
"""All kinds, in the order in which forms offer them."""
DEFAULT = "attribution"
"""The kind of a specification that names none."""


def modules(package: str) -> dict[str, ModuleType]:
    """The module of every kind in the package of a layer, by kind."""
    return {name: import_module(f"{package}.{name}") for name in NAMES}


SPECS: dict[str, type[JobSpec]] = {name: module.SPEC for name, module in modules(__name__).items()}
"""The specification of every kind."""
RESULTS: dict[str, type[ShardResult]] = {
    name: module.RESULT for name, module in modules(__name__).items()
}
"""The result of a shard of every kind."""


def ranking_source(name: str) -> RankingSource:
    """The source of importance of this name; one that no kind declares is its own title."""
    for spec in SPECS.values():
        for source in spec.ranking_sources:
            if source.name == name:
                return source
    return RankingSource(name=name, title=name, meaning="")
