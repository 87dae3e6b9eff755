"""Labels: the names of a model's outputs, and what a label in a row of data means.

The library, the forms, jobs and pages all ask here. Needs no torch.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from numbers import Integral, Real
from typing import Any

from headwise.errors import OptionError

PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")

MISSING = ("", "-1")
"""Labels of rows without one: an empty cell, and -1 as GLUE's test sets have it. A name comes
first: with a label named "-1", that is a label."""


class Outputs(StrEnum):
    """The meaning of a classifier's outputs, by its configuration's ``problem_type``."""

    CLASSES = "classes"
    """Classes that exclude each other: a softmax gives their probabilities."""
    LABELS = "labels"
    """Labels of which any number may apply (multi-label): each has a sigmoid of its own."""
    NUMBERS = "numbers"
    """Numbers (regression), as they are."""


def outputs_of(problem_type: str | None, outputs: int) -> Outputs:
    """The meaning of so many outputs; a single one is a number unless it is a label.

    Raises OptionError for a problem type that transformers does not know.
    """
    if problem_type not in (None, *PROBLEM_TYPES):
        raise OptionError(
            f"problem_type {problem_type!r} is unknown; known are {', '.join(PROBLEM_TYPES)}"
        )
    if problem_type == "multi_label_classification":
        return Outputs.LABELS
    regression = problem_type == "regression" or outputs == 1
    return Outputs.NUMBERS if regression else Outputs.CLASSES


def label_names(id2label: Mapping[Any, Any] | None, outputs: int) -> tuple[str, ...]:
    """The names of a model's outputs, in their order: a name for each, and each only once.

    id2label: names by output, as in a configuration; keys may be strings of digits
    outputs: the number of the model's outputs

    Names that are not those of outputs 0 to ``outputs - 1`` are not used: every output is then
    called ``LABEL_<number>``, as transformers does for a wrong number of names. A name that several
    outputs have gets their numbers: ``other (2)``.
    """
    named = _named(id2label, outputs)
    if named is None:
        return tuple(f"LABEL_{number}" for number in range(outputs))
    counted = Counter(named)
    return tuple(
        f"{name} ({number})" if counted[name] > 1 else name for number, name in enumerate(named)
    )


def label_notes(id2label: Mapping[Any, Any] | None, outputs: int) -> list[str]:
    """Say in words where ``label_names`` are not those of the configuration."""
    named = _named(id2label, outputs)
    if named is None:
        if not id2label:
            return []
        return [
            f"id2label does not name outputs 0 to {outputs - 1:,}, so that they are called "
            "LABEL_<number>"
        ]
    return [
        f"id2label has the name {name!r} for {count:,} outputs, which are told apart by their "
        f"numbers: {name} ({named.index(name)}), ..."
        for name, count in Counter(named).items()
        if count > 1
    ]


def _named(id2label: Mapping[Any, Any] | None, outputs: int) -> list[str] | None:
    """The names of all outputs as the configuration has them; None where it has not all."""
    names = {str(key).strip(): str(name) for key, name in (id2label or {}).items()}
    numbers = [str(number) for number in range(outputs)]
    return [names[number] for number in numbers] if names.keys() == set(numbers) else None


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The labels of a column of data, understood."""

    indices: tuple[int | None, ...]
    """The output that each row's label names; None for a row without one."""
    by: str
    """Content of the column: ``name`` or ``index``; ``nothing`` where no row has a label."""


class UnknownLabelError(ValueError):
    """A row has a label that the model does not know."""

    def __init__(self, row: int, value: object, message: str) -> None:
        super().__init__(message)
        self.row = row
        """Position in the column, from 0."""
        self.value = value


def read_labels(values: Iterable[object], names: Sequence[str]) -> Labels:
    """Understand a column of labels: names if all of them are, else indices, never both.

    A name may differ in case where that is not ambiguous. An index is a whole number from 0, as
    a number or as text; 1.0 is one (a column of integers with gaps becomes floats), 1.9 and
    ``True`` are none. So the labels "1" to "5" of a model with such names are names, whether a
    file holds them as text or as numbers.

    Raises UnknownLabelError for the first row that fits neither.
    """
    column = list(values)
    texts = [_text(value) for value in column]
    exact = {_text(name): number for number, name in enumerate(names)}
    exact |= {name: number for number, name in enumerate(names)}
    folded = _folded(names)
    indices: list[int | None] = []
    for text in texts:
        number = exact.get(text, folded.get(text.casefold()))
        if number is None and text not in MISSING:
            break
        indices.append(number)
    else:
        by = "name" if any(number is not None for number in indices) else "nothing"
        return Labels(indices=tuple(indices), by=by)
    failed = len(indices)
    indices = [None if text in MISSING else _index(text, len(names)) for text in texts]
    for row, (text, number) in enumerate(zip(texts, indices, strict=True)):
        if number is None and text not in MISSING:
            # Of a column of names with one typing error, that row is named.
            named = texts[0] in exact or texts[0].casefold() in folded
            at = failed if named else row
            raise UnknownLabelError(at, column[at], "is not a label of the model")
    return Labels(indices=tuple(indices), by="index")


def label_index(label: object, names: Sequence[str], where: str) -> int:
    """The output that a single label names: a string is a name, a whole number an index.

    Raises OptionError, which says ``where`` the label stands.
    """
    if isinstance(label, str):
        if label in names:
            return list(names).index(label)
    elif isinstance(label, Real) and not isinstance(label, bool):
        number = float(label)
        if number.is_integer() and 0 <= number < len(names):
            return int(number)
    raise OptionError(f"{where}: {label!r} is not a label of the model; it has {listed(names)}")


def listed(names: Sequence[str], most: int = 20) -> str:
    """The labels with their numbers, for messages."""
    shown_names = [f"{number} {name}" for number, name in enumerate(names[:most])]
    return ", ".join(shown_names) + (f" and {len(names) - most} more" if len(names) > most else "")


def _text(value: object) -> str:
    """A label as a CSV file would hold it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, Integral) and not isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    text = str(value).strip()
    # As CSV files hold a column of integers with gaps.
    whole = text.removesuffix(".0")
    return whole if whole.removeprefix("-").isdecimal() else text


def _folded(names: Sequence[str]) -> dict[str, int]:
    """Outputs by their names without case, where these differ."""
    counted = Counter(name.casefold() for name in names)
    return {
        name.casefold(): number
        for number, name in enumerate(names)
        if counted[name.casefold()] == 1
    }


def _index(text: str, outputs: int) -> int | None:
    """The index that a text is, if it is one."""
    if text.isascii() and text.isdigit() and len(text) < 10 and int(text) < outputs:
        return int(text)
    return None
