"""A tiny random classifier of any architecture of transformers."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    CONFIG_MAPPING,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
)

VOCABULARY, LABELS = 64, 3
PADDING, BEGIN, END = 0, 1, 2
FIRST_TOKEN = 5
"""Smaller ids have a meaning: padding, begin, end, separator, mask."""

_WIDTH, _HEADS, _LAYERS = 32, 4, 2

_INNER = (
    *("intermediate_size", "d_ff", "d_inner", "hidden_dim", "encoder_ffn_dim", "decoder_ffn_dim"),
    *("n_inner", "ffn_dim", "dff", "ffn_hidden_size", "block_ff_dim", "moe_intermediate_size"),
    *("shared_expert_intermediate_size", "shared_intermediate_size"),
)
_DEPTH = (
    *("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers"),
    *("decoder_layers", "num_decoder_layers"),
)
_HEAD_COUNTS = (
    *("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads"),
    "decoder_attention_heads",
)
# Values for attributes of these names, whatever the architecture.
_SIZES: dict[str, Any] = {
    **dict.fromkeys(
        ("hidden_size", "d_model", "n_embd", "dim", "emb_dim", "word_embed_proj_dim"), _WIDTH
    ),
    **dict.fromkeys(_INNER, 48),
    **dict.fromkeys(_DEPTH, _LAYERS),
    **dict.fromkeys(_HEAD_COUNTS, _HEADS),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "multi_query_group_num"), 2),
    **dict.fromkeys(("head_dim", "d_kv", "d_head", "kv_channels", "embedding_size"), 8),
    **dict.fromkeys(
        ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length"), 64
    ),
    **dict.fromkeys(("num_local_experts", "num_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk"), 2),
    **dict.fromkeys(("sliding_window", "attention_window_size", "window_size"), 4),
    "local_attention": 6,
    "vocab_size": VOCABULARY,
    "type_vocab_size": 2,
    "num_labels": LABELS,
    "pad_token_id": PADDING,
    "bos_token_id": BEGIN,
    "eos_token_id": END,
    "decoder_start_token_id": END,
    "cls_token_id": BEGIN,
    "sep_token_id": END,
    "initializer_range": 0.2,
    "init_std": 0.2,
    "mlp_only_layers": [],
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "n_shared_experts": 1,
    "pad_idx": PADDING,
}
_MAMBA = {
    "num_key_value_heads": _HEADS,
    "n_mamba_heads": 2,
    "mamba_dt_rank": 4,
    "mamba_d_state": 8,
}
_LINEAR = {
    "layer_types": ["linear_attention", "full_attention"],
    **dict.fromkeys(("linear_num_key_heads", "linear_num_value_heads"), 2),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 8),
}
# What the names do not tell.
_SPECIAL: dict[str, dict[str, Any]] = {
    **{
        kind: {"num_key_value_heads": _HEADS, "head_dim": 8}
        for kind in ("axk1", "axk2", "deepseek_v3", "minicpm3")
    },
    "mistral4": {"num_key_value_heads": _HEADS, "head_dim": 16},
    **{kind: {"head_dim": 8} for kind in ("hunyuan_v1_dense", "hunyuan_v1_moe", "ministral")},
    "nemotron": {"num_key_value_heads": 2, "head_dim": 8},
    "esmc": {"num_key_value_heads": _HEADS},
    "deepseek_v2": {"num_key_value_heads": _HEADS, "num_experts_per_tok": 2},
    "roc_bert": {
        "pronunciation_vocab_size": VOCABULARY,
        "shape_vocab_size": VOCABULARY,
        "pronunciation_embed_dim": 8,
        "shape_embed_dim": 8,
    },
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "squeezebert": {"embedding_size": _WIDTH},
    "gptj": {"rotary_dim": 4},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "esm": {"vocab_size": VOCABULARY, "position_embedding_type": "rotary", "mask_token_id": 4},
    "lilt": {"channel_shrink_ratio": 2, "hidden_size": 48},
    "luke": {"entity_vocab_size": 8, "entity_emb_size": 8},
    "xlm-roberta-xl": {"hidden_size": _WIDTH},
    "funnel": {"block_sizes": [1, 1]},
    "reformer": {
        "axial_pos_shape": [8, 8],
        "axial_pos_embds_dim": [16, 16],
        "attention_head_size": 8,
        "feed_forward_size": 48,
        "attn_layers": ["local", "lsh"],
        "local_attn_chunk_length": 8,
        "lsh_attn_chunk_length": 8,
    },
    # One layer of attention beside one of the other kind.
    "jamba": {**_MAMBA, "attn_layer_period": 2, "attn_layer_offset": 1},
    "qwen3_next": _LINEAR,
    "qwen3_5_text": _LINEAR,
    "zamba": {
        **_MAMBA,
        "layers_block_type": ["hybrid", "hybrid"],
        "attention_hidden_size": 2 * _WIDTH,
        "attention_head_dim": 2 * _WIDTH // _HEADS,
    },
    "zamba2": {**_MAMBA, "layers_block_type": ["hybrid", "linear_attention"], "chunk_size": 8},
    "cohere_compass_text": {
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": 1e4}
            for kind in ("full_attention", "sliding_attention")
        }
    },
    "markuplm": {"max_xpath_tag_unit_embeddings": 8, "max_xpath_subs_unit_embeddings": 8},
}
# Attributes that the configurations of these types have, but do not take.
_NOT_TAKEN = {
    "falcon": {"head_dim"},
    "funnel": {"num_hidden_layers"},
    "xlnet": {"max_position_embeddings"},
}


def classifiers() -> list[str]:
    """The model types of all of transformers' sequence classifiers, sorted."""
    return sorted(str(kind) for kind in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES)


def tiny_config(kind: str, **extra: Any) -> PretrainedConfig:
    """A configuration with a few small layers; ``extra`` overrides the sizes set here."""
    config_class = CONFIG_MAPPING[kind]
    default = config_class()
    wanted = _sizes(default)
    wanted |= {name: _SIZES[name] for name in _TOKENS}
    wanted = {k: v for k, v in wanted.items() if k not in _NOT_TAKEN.get(kind, ())}
    wanted |= _SPECIAL.get(kind, {}) | extra
    for name in _PARTS:
        if isinstance(part := getattr(default, name, None), PretrainedConfig):
            own = {key: value for key, value in extra.items() if hasattr(part, key)}
            wanted[name] = tiny_config(part.model_type, **own)
    config: PretrainedConfig = config_class(**wanted)
    return config


_TOKENS = ("num_labels", "pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")
_PARTS = ("text_config", "vision_config", "encoder", "decoder")
"""Configurations within one of several parts."""


def _sizes(default: PretrainedConfig) -> dict[str, Any]:
    """Small values for the sizes that a configuration has, by its own names for them."""
    mapped = set(default.attribute_map)
    return {n: v for n, v in _SIZES.items() if n not in mapped and _known(default, n)}


def _known(config: PretrainedConfig, name: str) -> bool:
    return getattr(config, name, None) is not None


def tiny_model(kind: str, limit: int = 30_000_000, **extra: Any) -> PreTrainedModel:
    """A random model of that configuration, in double precision and eval mode.

    Raises ValueError if it has more than ``limit`` parameters: its sizes then have unknown names.
    """
    config = tiny_config(kind, **extra)
    config._experts_implementation = "eager"  # the grouped kernels know no double precision
    with torch.device("meta"):
        empty = AutoModelForSequenceClassification.from_config(config)
    count = sum(parameter.numel() for parameter in empty.parameters())
    if count > limit:
        raise ValueError(f"its configuration has sizes of its own: {count:,} parameters")
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            # Norms of ones and biases of zeros would hide mistakes with them.
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
        # Large against what the layers add, which makes the path smooth.
        model.get_input_embeddings().weight.mul_(4)
    return model.double().eval()
