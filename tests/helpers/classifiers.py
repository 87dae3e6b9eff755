"""Tiny random classifiers of every supported family in memory, and token ids for them."""

import numpy as np
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    CamembertConfig,
    CamembertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

FAMILIES = {
    "bert": (BertConfig, BertForSequenceClassification),
    "roberta": (RobertaConfig, RobertaForSequenceClassification),
    "xlm-roberta": (XLMRobertaConfig, XLMRobertaForSequenceClassification),
    "camembert": (CamembertConfig, CamembertForSequenceClassification),
    "distilbert": (DistilBertConfig, DistilBertForSequenceClassification),
    "electra": (ElectraConfig, ElectraForSequenceClassification),
}
VOCABULARY = 60


def tiny(
    family="bert",
    *,
    dtype=torch.float64,
    spread=0.3,
    layers=3,
    labels=3,
    seed=0,
    positions=40,
    **extra,
):
    """A random classifier: 3 layers of 4 heads, 32 wide; ``spread`` makes the path bend."""
    config_class, model_class = FAMILIES[family]
    if family == "distilbert":
        sizes = {"dim": 32, "n_layers": layers, "n_heads": 4, "hidden_dim": 64}
    else:
        sizes = {
            "hidden_size": 32,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "type_vocab_size": 2,
        }
    if family == "electra":
        sizes["embedding_size"] = 16
    config = config_class(
        vocab_size=VOCABULARY,
        max_position_embeddings=positions,
        initializer_range=spread,
        num_labels=labels,
        pad_token_id=1 if "roberta" in family or family == "camembert" else 0,
        **sizes,
        **extra,
    )
    torch.manual_seed(seed)
    return model_class(config).to(dtype).eval()


def random_inputs(model, lengths, seed=0):
    """Examples of random ids, as ``attribute_encoded`` takes them; pairs where there are types."""
    generator = np.random.default_rng(seed)
    examples = []
    for n in lengths:
        example = {"input_ids": generator.integers(2, VOCABULARY, n)}
        if getattr(model.config, "type_vocab_size", 0) and model.config.model_type != "distilbert":
            example["token_type_ids"] = np.arange(n) >= n // 2
        examples.append(example)
    return examples


def hooks(module):
    """The number of forward and forward pre-hooks of a module."""
    return len(module._forward_hooks), len(module._forward_pre_hooks)


def state(model):
    """Everything about a model that attribution changes while it runs."""
    return (
        [(*hooks(m), "forward" in m.__dict__, m.training) for m in model.modules()],
        [parameter.requires_grad for parameter in model.parameters()],
        [parameter.grad is None for parameter in model.parameters()],
        model.config._attn_implementation,
    )
