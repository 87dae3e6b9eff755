"""The options of ``attribute``, checked in one place."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypedDict, TypeVar

from headwise.attribution.quadrature import MAX_POINTS, Rule, parse_integration
from headwise.errors import OptionError
from headwise.precision import PRECISIONS
from headwise.targets import OUTPUTS, Label

METHODS = (
    "integrated-gradients",
    "attention-gradient",
    "attention",
    "random",
    "embedding-gradient",
)

Progress = Callable[[int, int], object]
"""progress(done, total), in examples."""


@dataclass(kw_only=True)
class Partial:
    """A call that can be stopped, and completed by another one with the same arguments.

    Batches are those of the whole call, so the numbers are the same as without a stop.

    finished: indices of the examples that need not be computed; the call adds those it computes.
        Its result has no numbers for the former, nor for those that are missing after a stop.
    stops_on: exceptions of ``progress`` that stop the call: it returns what is finished
    stopped: such an exception, if there was one
    """

    finished: set[int] = field(default_factory=set)
    stops_on: type[BaseException] | tuple[type[BaseException], ...] = ()
    stopped: BaseException | None = None


class Arguments(TypedDict, total=False):
    """The keyword arguments of ``Options``, for type checkers."""

    method: str
    target: Label
    gold: Sequence[Label] | None
    output: str
    integration: str
    rtol: float
    max_points: int
    edges: int
    matrices: bool
    head_token_attribution: bool
    heads: Sequence[str]
    token_budget: int | None
    seed: int
    precision: str
    deterministic: bool
    progress: Progress | None
    partial: Partial | None


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of an attribution: the keyword arguments of ``attribute``.

    method: ``integrated-gradients``, the paper's Attr; for comparison ``attention-gradient``,
        ``attention``, ``random`` or ``embedding-gradient``, see ``headwise.attribution.methods``.
        Of these only ``attention-gradient`` uses ``output``, and none uses ``integration``,
        ``rtol`` or ``max_points``.
    target: the class whose output is attributed: ``predicted``, ``gold``, or a label by name or
        index
    gold: one label per text, by name or index; required for target ``gold``
    output: ``probability``, ``logit`` or ``log-probability`` of that class
    integration: ``auto`` chooses points per example and site until the estimated relative error
        of the attribution (L2 norm over all heads and cells of the site) meets ``rtol``;
        ``gauss-legendre:m`` and ``left-riemann:m`` are fixed rules of m points
    rtol: the relative error at which ``auto`` stops, between 0 and 1
    max_points: the maximum number of points of ``auto`` per example and site
    edges: number of largest cells to keep per example
    matrices: keep the whole attribution, float32 [S, H, n, n] per example
    head_token_attribution: keep what every head reads of each token, float32 [S, H, n] per example;
        it also follows from matrices
    heads: names of heads, such as ``L3 H7`` or ``cross L3 H7``, whose whole attention probabilities
        and attribution are kept, each float32 [n, n] per example
    token_budget: tokens (rows x length) in one pass through the model; halved when memory runs
        out. By default what suits the device, fitted to free memory and remembered per model.
    seed: for method ``random``; the numbers of an example depend on it and its index alone
    precision: of the passes of the model; sums are at least in single precision. ``float32`` keeps
        the data type of the model, ``bf16`` is torch's autocast, ``tf32`` needs a GPU.
    deterministic: equal bytes on every run on the same machine, by torch's deterministic
        algorithms; the budget is then ``token_budget`` or the default of the device
    progress: called as ``progress(done, total)``, in examples, after every pass; an exception from
        it ends the work, with the model restored
    partial: what an earlier call has finished, and what this one finishes before it is stopped

    Raises OptionError for a value that is not allowed for any model.
    """

    method: str = METHODS[0]
    target: Label = "predicted"
    gold: Sequence[Label] | None = None
    output: str = "probability"
    integration: str = "auto"
    rtol: float = 1e-3
    max_points: int = 64
    edges: int = 16
    matrices: bool = True
    head_token_attribution: bool = False
    heads: Sequence[str] = ()
    token_budget: int | None = None
    seed: int = 0
    precision: str = PRECISIONS[0]
    deterministic: bool = False
    progress: Progress | None = None
    partial: Partial | None = None

    def __post_init__(self) -> None:
        known = {"method": METHODS, "output": OUTPUTS, "precision": PRECISIONS}
        for name, choices in known.items():
            if (value := getattr(self, name)) not in choices:
                raise OptionError(f"{name} {value!r} is unknown; use one of {', '.join(choices)}")
        if not isinstance(self.seed, int) or self.seed < 0:
            raise OptionError(f"seed must be an integer of at least 0, not {self.seed!r}")
        if not (isinstance(self.rtol, float | int) and 0 < self.rtol < 1):
            raise OptionError(f"rtol must be between 0 and 1, not {self.rtol!r}")
        if not 3 <= self.max_points <= MAX_POINTS:
            raise OptionError(f"max_points must be from 3 to {MAX_POINTS}, not {self.max_points}")
        if self.edges < 0:
            raise OptionError(f"edges must be at least 0, not {self.edges}")
        if isinstance(self.heads, str):
            raise OptionError(f"heads must be a sequence of names, not one string: {self.heads!r}")
        if self.token_budget is not None and self.token_budget < 1:
            raise OptionError(f"token_budget must be at least 1, not {self.token_budget}")
        if self.target == "gold" and self.gold is None:
            raise OptionError("target 'gold' needs the gold labels: pass gold=[...]")
        parse_integration(self.integration)

    @property
    def rule(self) -> Rule | None:
        """The fixed rule of ``integration``, or None for ``auto``."""
        return parse_integration(self.integration)


_F = TypeVar("_F", bound=Callable[..., object])


def takes_options(function: _F) -> _F:
    """Show the options with their defaults in help() and completion, in place of ``**options``."""
    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    options = inspect.signature(Options).parameters.values()
    setattr(function, "__signature__", signature.replace(parameters=[*own, *options]))  # noqa: B010
    return function
