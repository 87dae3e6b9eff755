"""Tokenizers with a few words."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import BertTokenizer, PreTrainedTokenizerFast

WORDS = (
    "two the in ##s flood iowa ice florida titanic is a very sad movie it rains heavily summer !"
)


@pytest.fixture
def bert():
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return BertTokenizer(vocab={token: i for i, token in enumerate([*special, *WORDS.split()])})


@pytest.fixture
def roberta():
    """Byte-level pieces of a letter each, and of some words with the blank before them."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    letters = sorted({*"".join(WORDS.split()), "\u0120"} - {"#"})
    merges = [("\u0120", "i"), ("\u0120i", "s"), ("\u0120", "a"), ("s", "a"), ("sa", "d")]
    vocabulary = {t: i for i, t in enumerate([*special, *letters, *(a + b for a, b in merges)])}
    backend = Tokenizer(models.BPE(vocabulary, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(
        "<s> $A </s>", "<s> $A </s> </s> $B </s>", [("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", cls_token="<s>", sep_token="</s>",
        eos_token="</s>", unk_token="<unk>", pad_token="<pad>", model_max_length=120,
    )  # fmt: skip
