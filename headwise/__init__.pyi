from .attack.attention_baseline import AttentionCell, TextCells, attention_cells
from .attack.evaluation import AttackResult, Attempt, evaluate_triggers, try_attack
from .attribution.engine import attribute, attribute_encoded
from .client.client import Client
from .client.errors import JobFailedError, ServerError
from .encoding import Text
from .errors import (
    DamagedModelError,
    HeadwiseError,
    ModelError,
    ModelNotFoundError,
    OptionError,
    TokenizerError,
    UnsafeWeightsError,
    UnsupportedModelError,
)
from .html import Picture
from .models.loading import LoadedModel, load
from .options import Options
from .pruning.curve import Choice, PruneCurve, choose, prune_curve
from .pruning.export import PrunedModel, load_pruned, save_masked, save_onnx, save_pruned
from .pruning.importance import leave_one_out, taylor
from .pruning.masking import MaskEvaluation, evaluate_masks
from .pruning.structure import Comparison, describe, remove_heads, zero_heads
from .replay import Site
from .result import Attribution, Edge
from .targets import AnswerPosition, NextToken
from .trees import Node, Tree
from .wordpieces import WordPair, Words

__all__ = [
    "AnswerPosition",
    "AttackResult",
    "Attempt",
    "AttentionCell",
    "Attribution",
    "Choice",
    "Client",
    "Comparison",
    "DamagedModelError",
    "Edge",
    "HeadwiseError",
    "JobFailedError",
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
    "ServerError",
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
