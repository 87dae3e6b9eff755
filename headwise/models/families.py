"""The model types that are computed: what library, jobs and documentation agree on.

Needs no torch. The engine itself accepts any model that passes its check; this list is of the
types of transformers that do, as docs/reference/architectures.md measures, so that a job of another
type is refused when it is submitted, with the reason.
"""

from __future__ import annotations

FAMILIES = (
    *("albert", "arcee", "axk1", "bart", "bert", "big_bird", "biogpt", "bloom", "camembert"),
    *("cohere_compass_text", "ctrl", "data2vec-text", "deberta", "deberta-v2", "deepseek_v2"),
    *("deepseek_v3", "diffllama", "distilbert", "doge", "electra", "ernie", "esm", "esmc"),
    *("eurobert", "exaone4", "falcon", "gemma", "gemma2", "gemma3", "gemma3_text", "glm"),
    *("glm4", "gpt-sw3", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "gpt_oss", "gptj"),
    *("gte", "helium", "hunyuan_v1_dense", "hunyuan_v1_moe", "ibert", "jamba", "jetmoe"),
    *("jina_embeddings_v3", "layoutlm", "llama", "luke", "mbart", "megatron-bert", "minicpm3"),
    *("minimax", "ministral", "ministral3", "mistral", "mistral4", "mixtral", "mobilebert"),
    *("modernbert", "modernbert-decoder", "modernvbert", "mpnet", "mpt", "mt5", "nemotron"),
    *("nomic_bert", "olmo", "olmo2", "olmo3", "openai-gpt", "opt", "persimmon", "phi", "phi3"),
    *("phimoe", "plbart", "qwen2", "qwen2_moe", "qwen3", "qwen3_5", "qwen3_5_text"),
    *("qwen3_moe", "qwen3_next", "rembert", "roberta", "roberta-prelayernorm", "roformer"),
    *("seed_oss", "smollm3", "stablelm", "starcoder2", "t5", "ultrabert", "ultravbert", "umt5"),
    *("xlm-roberta", "xlm-roberta-xl", "xmod", "zamba", "zamba2"),
)
"""transformers' ``model_type``s that are computed from texts."""

NOT_FROM_TEXT = {
    "roc_bert": "its tokenizer also gives shapes and pronunciations of characters",
    "tapas": "its tokenizer reads tables",
}
"""Types that are computed from token ids (``headwise.attribute_encoded``) alone, and why."""

_NO_SOFTMAX = "its attention is not softmax(QK')V over all tokens"
_WRITTEN_OUT = "its attention is written out in a form that is not recognised"
_PADDING = "its logits depend on the padding of a text"
_STATE = "running it from one of its layers gives another result"
NOT_COMPUTED = {
    "axk2": "its attention looks at tokens that it chooses",
    "bigbird_pegasus": "its attention looks at blocks of tokens",
    "canine": "reads characters, not tokens",
    "convbert": _PADDING,
    "flaubert": _STATE,
    "fnet": "mixes tokens by Fourier transforms, without attention",
    "funnel": "pools tokens between its layers",
    "layoutlmv2": "needs images and boxes",
    "layoutlmv3": "needs images and boxes",
    "lilt": "needs boxes",
    "longformer": "its attention looks at windows of tokens",
    "markuplm": "needs the paths of its markup",
    "mra": _NO_SOFTMAX,
    "mvp": _WRITTEN_OUT,
    "nystromformer": _NO_SOFTMAX,
    "perceiver": "reads bytes into latents; its attention is not from tokens to tokens",
    "reformer": "its attention looks at chunks of tokens",
    "squeezebert": "its attention is made of convolutions",
    "t5gemma": _PADDING,
    "t5gemma2": "its decoder attends to itself and to the text at once",
    "xlm": _STATE,
    "xlnet": _WRITTEN_OUT,
    "yoso": _NO_SOFTMAX,
}
"""Types that are refused, and why."""


def reason_against(family: str) -> str:
    """The reason a model type is not computed from texts; empty where that is not known."""
    return NOT_FROM_TEXT.get(family) or NOT_COMPUTED.get(family, "")
