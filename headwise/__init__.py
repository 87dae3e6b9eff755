"""What every attention head of a transformer contributes to its predictions.

loaded = headwise.load("some/classifier")
result = headwise.attribute(loaded.model, loaded.tokenizer, texts)
result.importance()  # [sites, heads]
"""

from headwise.attack.attended import AttentionCell, TextCells, attention_cells
from headwise.attack.evaluation import AttackResult, Attempt, evaluate_triggers, try_attack
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
from headwise.heads import AnswerPosition, NextToken
from headwise.loading import LoadedModel, load
from headwise.options import Options
from headwise.picture import Picture
from headwise.pruning.curve import Choice, PruneCurve, choose, prune_curve
from headwise.pruning.export import PrunedModel, load_pruned, save_masked, save_onnx, save_pruned
from headwise.pruning.importance import leave_one_out, taylor
from headwise.pruning.masking import MaskEvaluation, evaluate_masks
from headwise.pruning.structure import Comparison, describe, remove_heads, zero_heads
from headwise.replay import Site
from headwise.result import Attribution, Edge
from headwise.words import WordPair, Words
from trees import Node, Tree

__all__ = [
    "AnswerPosition",
    "AttackResult",
    "Attempt",
    "AttentionCell",
    "Attribution",
    "Choice",
    "Comparison",
    "Edge",
    "HeadwiseError",
    "LoadedModel",
    "MaskEvaluation",
    "ModelError",
    "ModelNotFoundError",
    "NextToken",
    "Node",
    "OptionError",
    "Options",
    "Picture",
    "PruneCurve",
    "PrunedModel",
    "Site",
    "Text",
    "TextCells",
    "TokenizerError",
    "Tree",
    "UnsafeWeightsError",
    "UnsupportedModelError",
    "WordPair",
    "Words",
    "attention_cells",
    "attribute",
    "attribute_encoded",
    "choose",
    "describe",
    "evaluate_masks",
    "evaluate_triggers",
    "leave_one_out",
    "load",
    "load_pruned",
    "prune_curve",
    "remove_heads",
    "save_masked",
    "save_onnx",
    "save_pruned",
    "taylor",
    "try_attack",
    "zero_heads",
]
