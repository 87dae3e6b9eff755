"""What every attention head of a transformer contributes to its predictions.

loaded = headwise.load("some/classifier")
result = headwise.attribute(loaded.model, loaded.tokenizer, texts)
result.importance()  # [sites, heads]
"""

from headwise.encoding import Text
from headwise.engine import attribute, attribute_encoded
from headwise.errors import (
    HeadwiseError,
    ModelError,
    ModelNotFoundError,
    OptionError,
    TokenizerError,
    UnsafeWeightsError,
    UnsupportedModelError,
)
from headwise.loading import LoadedModel, load
from headwise.options import Options
from headwise.replay import Site
from headwise.result import Attribution, Edge

__all__ = [
    "Attribution",
    "Edge",
    "HeadwiseError",
    "LoadedModel",
    "ModelError",
    "ModelNotFoundError",
    "OptionError",
    "Options",
    "Site",
    "Text",
    "TokenizerError",
    "UnsafeWeightsError",
    "UnsupportedModelError",
    "attribute",
    "attribute_encoded",
    "load",
]
