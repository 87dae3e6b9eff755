"""The errors that headwise raises.

HeadwiseError
├── OptionError            an argument has a wrong value (also a ValueError)
├── FigureError            a figure cannot be drawn
└── ModelError             the model cannot be used
    ├── ModelNotFoundError     no such folder or hub repository
    │   └── DamagedModelError      there is one, but a file of it is missing or broken, or its files
    │                              contradict each other
    ├── UnsafeWeightsError     weights only as pickle, which can run code when read
    ├── UnsupportedModelError  not a sequence classifier, or an architecture whose attention
    │                          cannot be replayed exactly
    └── TokenizerError         no usable tokenizer beside the model
"""


class HeadwiseError(Exception):
    """Base class of the errors of this package; messages are for the user."""


class OptionError(HeadwiseError, ValueError):
    """An argument has a value that cannot be used."""


class FigureError(HeadwiseError):
    """A figure cannot be drawn."""


class ModelError(HeadwiseError):
    """The model cannot be used."""


class ModelNotFoundError(ModelError):
    """There is no model under the given name or path."""


class DamagedModelError(ModelNotFoundError):
    """A file of the model is missing, broken, or contradicts another; the same everywhere."""


class UnsafeWeightsError(ModelError):
    """The weights exist only in a format that can execute code."""


class UnsupportedModelError(ModelError):
    """The model is not a sequence classifier, or its architecture is not supported."""


class TokenizerError(ModelError):
    """The tokenizer is missing or unusable."""


FAILURES = (
    *(RuntimeError, ValueError, TypeError, LookupError, AttributeError, NotImplementedError),
    AssertionError,
)
"""Errors that the code of a model raises when it cannot do what is asked of it."""


def first_line(error: BaseException) -> str:
    """Return the first line of the message of an error, or the name of its class."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def in_words(error: BaseException) -> str:
    """Return the first line of an error's message, after the name of its class if it alone says
    little: "KeyError: 'rope'", "IndexError: list index out of range"."""
    plain = isinstance(error, OSError | ValueError) and not isinstance(error, UnicodeError)
    return first_line(error) if plain else f"{type(error).__name__}: {first_line(error)}"
