"""The kinds of jobs, each with its specification and its result."""

from __future__ import annotations

from typing import get_args

from jobs.kinds.attack import AttackSpec
from jobs.kinds.attribution import AttributionSpec
from jobs.kinds.importance import ImportanceSpec
from jobs.kinds.pruning import PruningSpec
from jobs.specs.base import JobSpec

Spec = AttributionSpec | ImportanceSpec | PruningSpec | AttackSpec
"""A specification of any kind."""
SPECS: dict[str, type[JobSpec]] = {one.model_fields["kind"].default: one for one in get_args(Spec)}
"""The kinds of jobs: the one list of them; the other layers' registries have the same keys."""
