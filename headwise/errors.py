"""Every error that headwise raises on purpose.

HeadwiseError
├── OptionError            an argument of ``load`` or ``attribute`` is wrong (also a ValueError)
└── ModelError             the model cannot be used
    ├── ModelNotFoundError     no such folder or hub repository, or no config.json in it
    ├── UnsafeWeightsError     weights only as pickle, which could run code when read
    ├── UnsupportedModelError  not a sequence classifier, or an architecture whose attention
    │                          cannot be replayed exactly
    └── TokenizerError         no usable tokenizer beside the model
"""


class HeadwiseError(Exception):
    """Base of all errors of this package; the message is meant for the user."""


class OptionError(HeadwiseError, ValueError):
    """An argument has a value that cannot be used."""


class ModelError(HeadwiseError):
    """The model cannot be used."""


class ModelNotFoundError(ModelError):
    """There is no model under the given name or path."""


class UnsafeWeightsError(ModelError):
    """The weights exist only in a format that can execute code."""


class UnsupportedModelError(ModelError):
    """The model is no sequence classifier, or its architecture is not supported."""


class TokenizerError(ModelError):
    """The tokenizer is missing or unusable."""


FAILURES = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, NotImplementedError)
"""What the code of a model raises that cannot do what is asked of it."""
