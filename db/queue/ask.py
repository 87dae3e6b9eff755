"""A worker that asks for a shard, and the request."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

Shape = tuple[str, int | None, int | None]
"""Kind of the job, layers and heads of its model. Speeds are measured by shape."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A worker's request; by default for a whole ready shard, of any model, without limits."""

    seconds: float = math.inf
    """Amount of work to take, by the worker's pace."""
    paces: dict[Shape, float] = field(default_factory=dict)
    """Seconds per unit of cost that the worker takes. A claim adds those that others measured."""
    grace: float = 25.0
    """Workers seen within this many seconds share what is left of a job."""
    model: str | None = None
    """The model that it has loaded, as in `job.model`; preferred."""
    patience: float = 120.0
    """Seconds after which a ready shard of another model is no longer passed over."""
    user_limit: int = 0
    """Most shards of one user that may be leased at once in a queue; 0 for any number."""
    queue_limit: int = 0
    """Most shards that may be leased at once in a queue; 0 for any number."""

    @property
    def turn(self) -> float:
        """Seconds of work that users alternate by: two shards, so that models are not reloaded for
        each."""
        return 2 * min(self.seconds, 60.0)


ANYTHING = Ask()


@dataclass(frozen=True, kw_only=True)
class WorkerIdentity:
    """The identity of a worker process, stored with every attempt."""

    name: str
    host: str
    pid: int
    queue: str
    """The queues that it serves, separated by commas."""
    device: str
    versions: str

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that it serves, in no order of preference."""
        return tuple(self.queue.split(","))
