"""The inputs of a model: what it takes of what its tokenizer gives, and whether the two fit."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headwise.errors import FAILURES, TokenizerError
from headwise.models.evaluating import evaluating
from headwise.replay.probes import vocabulary_size
from headwise.replay.selfcheck import logits_tolerance

_PAIR = ("two boats left .", "no boat is out .")

# The tokenizer that a model was last checked with.
_checked: WeakKeyDictionary[nn.Module, weakref.ref[PreTrainedTokenizerBase]] = WeakKeyDictionary()


def takes_token_types(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Tell whether a model is called with the ``token_type_ids`` of its tokenizer.

    The tokenizer must give them, and the model take them by name: itself, or what its
    ``forward(**kwargs)`` passes them on to, as in wrappers for adapters and compiled models.
    """
    name = "token_type_ids"
    return name in tokenizer.model_input_names and name in _named_inputs(model)


def check_inputs(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, limit: int | None
) -> None:
    """Compare the logits for our inputs with those for everything that the tokenizer gives.

    limit: the number of tokens that the model takes

    On a pair of texts, once for a model and its tokenizer. Nothing is compared where the model
    does not take the tokenizer's own call.

    Raises TokenizerError if the logits differ: the model would be computed without an input that
    it has elsewhere.
    """
    known = _checked.get(model)
    if known is not None and known() is tokenizer:
        return
    try:
        whole = tokenizer(*_PAIR, return_tensors="pt", truncation=True, max_length=limit)
    except FAILURES:
        return  # the texts are refused with the reason
    check_vocabulary(model, whole["input_ids"][0].tolist())
    names = {"input_ids", "attention_mask"}
    if takes_token_types(model, tokenizer):
        names.add("token_type_ids")
        if int(whole["token_type_ids"].max()) >= (_token_types(model) or 1 << 62):
            return  # for single texts only
    whole = whole.to(model.device)
    ours = {name: tensor for name, tensor in whole.items() if name in names}
    with evaluating(model):
        try:
            wanted: Tensor = model(**whole).logits
            got: Tensor = model(**ours).logits
        except FAILURES:
            return  # the model is refused with the reason, or does not take such a call
    if wanted.isfinite().all():
        _compare(got, wanted, sorted(whole.keys() - ours.keys()))
    _checked[model] = weakref.ref(tokenizer)


def check_vocabulary(model: PreTrainedModel, ids: Sequence[int]) -> None:
    """Raise TokenizerError for a token id without an embedding."""
    size = vocabulary_size(model)
    if max(ids, default=0) >= size:
        raise TokenizerError(
            f"the tokenizer gives token id {max(ids)}, but the model has only {size} embeddings: "
            "they do not belong together"
        )


def check_token_types(model: nn.Module, types: Sequence[int]) -> None:
    """Raise TokenizerError for a token type without an embedding."""
    size = _token_types(model)
    if size is not None and max(types, default=0) >= size:
        raise TokenizerError(
            f"the tokenizer gives token type {max(types)}, as the second text of a pair has, but "
            f"the model's type_vocab_size is {size}; give it single texts"
        )


def _named_inputs(model: nn.Module) -> set[str]:
    """The arguments that a model names and, where it takes any, those of the models inside."""
    parameters = inspect.signature(model.forward).parameters.values()
    names = {parameter.name for parameter in parameters}
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        for child in model.children():
            if isinstance(child, PreTrainedModel) or not isinstance(model, PreTrainedModel):
                names |= _named_inputs(child)
    return names


def _token_types(model: nn.Module) -> int | None:
    """The number of token types that a model has embeddings for."""
    for name, module in model.named_modules():
        if name.endswith("token_type_embeddings") and hasattr(module, "weight"):
            return len(module.weight)
    return None


def _compare(logits: Tensor, wanted: Tensor, left_out: Sequence[str]) -> None:
    difference = float((logits - wanted).abs().max())
    if not difference <= logits_tolerance(wanted):
        raise TokenizerError(
            f"the model also takes {', '.join(left_out)} from its tokenizer, which Headwise does "
            f"not pass, and its logits differ without by {difference:.1e}; choose a model of "
            "input_ids, attention_mask and token_type_ids alone"
        )
