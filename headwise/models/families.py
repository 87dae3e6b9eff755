"""The model types that are computed: what library, jobs and documentation agree on.

Needs no torch. The engine itself accepts any model that passes its check; this list is of the
types of transformers that do, as docs/architectures.md measures, so that a job of another type is
refused when it is submitted.
"""

from __future__ import annotations

FAMILIES = (
    *("albert", "arcee", "axk1", "bart", "bert", "big_bird", "biogpt", "bloom", "camembert"),
    *("ctrl", "data2vec-text", "deberta", "deberta-v2", "deepseek_v2", "deepseek_v3"),
    *("diffllama", "distilbert", "doge", "electra", "ernie", "esm", "esmc", "eurobert"),
    *("exaone4", "falcon", "gemma", "gemma2", "gemma3_text", "glm", "glm4", "gpt-sw3", "gpt2"),
    *("gpt_bigcode", "gpt_neo", "gpt_neox", "gpt_oss", "gptj", "gte", "helium"),
    *("hunyuan_v1_dense", "hunyuan_v1_moe", "ibert", "jetmoe", "jina_embeddings_v3", "layoutlm"),
    *("llama", "luke", "mbart", "megatron-bert", "minicpm3", "minimax", "ministral"),
    *("ministral3", "mistral", "mixtral", "mobilebert", "modernbert", "modernbert-decoder"),
    *("mpnet", "mpt", "mt5", "nemotron", "nomic_bert", "olmo", "olmo2", "olmo3", "openai-gpt"),
    *("opt", "persimmon", "phi", "phi3", "phimoe", "plbart", "qwen2", "qwen2_moe", "qwen3"),
    *("qwen3_moe", "rembert", "roberta", "roberta-prelayernorm", "roformer", "seed_oss"),
    *("smollm3", "stablelm", "starcoder2", "t5", "ultrabert", "umt5", "xlm-roberta"),
    *("xlm-roberta-xl", "xmod"),
)
"""transformers' ``model_type``s that are computed from texts."""

NOT_FROM_TEXT = {
    "roc_bert": "its tokenizer also gives shapes and pronunciations of characters",
    "tapas": "its tokenizer reads tables",
}
"""Types that are computed from token ids (``headwise.attribute_encoded``) alone, and why."""
