"""The strongest cells of raw attention, as a baseline for those of attribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headwise.attack.inserting import Inserter, Prepared
from headwise.attack.predicting import fixed_budget, in_batches
from headwise.attribution.sharing import may_share
from headwise.encoding import Text, pad, pad_id
from headwise.errors import OptionError
from headwise.options import Progress
from headwise.replay import Inputs, Replay, Site


class AttentionCell(NamedTuple):
    """One cell of a head's attention and its probability."""

    site: Site
    head: int
    query: int
    key: int
    value: float


class TextCells(NamedTuple):
    """The tokens of a text and its strongest cells, largest first."""

    tokens: tuple[str, ...]
    cells: tuple[AttentionCell, ...]


def attention_cells(  # noqa: PLR0913 - options are keyword arguments in a notebook
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Text],
    *,
    cells: int = 2,
    one_head: bool = True,
    max_length: int | None = None,
    token_budget: int | None = None,
    progress: Progress | None = None,
) -> list[TextCells]:
    """Find the cells with the largest attention probability, without special tokens.

    They are triggers for comparison with those of attribution.

    cells: number per text, or fewer if it has fewer
    one_head: take all cells from the head that has the largest; otherwise from all heads

    Raises OptionError for a bad argument, UnsupportedModelError as ``attribute`` does, and
    TokenizerError for a tokenizer that does not mark special tokens.
    """
    if cells < 1:
        raise OptionError(f"cells must be at least 1, not {cells}")
    inserter = Inserter(
        model=model, tokenizer=tokenizer, insertion="tokens", segments="both", max_length=max_length
    )
    prepared = [inserter.prepare(text, max_length) for text in texts]
    found: dict[int, TextCells] = {}

    def work(batch: list[int]) -> None:
        rows = [prepared[e] for e in batch]
        found.update(zip(batch, _batch_cells(replay, rows, cells, one_head), strict=True))
        if progress is not None:
            progress(len(found), len(texts))

    with torch.no_grad(), Replay(model) as replay:
        # A quarter of the budget, because the attention of all heads is kept.
        budget = fixed_budget(model, token_budget)
        encoded = [text.encoded for text in prepared]

        def forward(inputs: Inputs) -> Tensor:
            return replay.record(inputs).logits

        def shared(batch: list[int]) -> bool:
            return may_share(model, [encoded[e] for e in batch], forward)

        in_batches(encoded, budget, work, shared, share=4)
    return [found[e] for e in range(len(texts))]


def _batch_cells(
    replay: Replay, texts: Sequence[Prepared], cells: int, one_head: bool
) -> list[TextCells]:
    inputs = pad([text.encoded for text in texts], pad_id(replay.model), replay.device)
    recording = replay.record(inputs)
    n = recording.length
    # True for the tokens of the text itself: neither special nor padding.
    own = torch.zeros(len(texts), n, dtype=torch.bool, device=replay.device)
    for row, text in enumerate(texts):
        own[row, [i for i, sequence in enumerate(text.sequences) if sequence is not None]] = True
    pairs = (own[:, :, None] & own[:, None, :])[:, None]
    best = [
        recording.attention(site.index).masked_fill(~pairs, -1).flatten(2).topk(min(cells, n * n))
        for site in replay.sites
    ]
    values = torch.cat([top.values for top in best], 1).float().cpu()
    places = torch.cat([top.indices for top in best], 1).cpu()
    heads = [(site, head) for site in replay.sites for head in range(site.heads)]
    return [
        TextCells(
            text.encoded.tokens,
            _strongest(heads, values[row], places[row], n, cells, one_head),
        )
        for row, text in enumerate(texts)
    ]


def _strongest(
    heads: Sequence[tuple[Site, int]],
    values: Tensor,
    places: Tensor,
    n: int,
    cells: int,
    one_head: bool,
) -> tuple[AttentionCell, ...]:
    """Select the largest among the k largest cells of each head.

    values, places: of these, and their index in the flat matrix, [heads, k]
    """
    ranked = values.clone()
    if one_head:
        ranked[torch.arange(len(heads)) != int(values[:, 0].argmax())] = -1
    order = ranked.flatten().argsort(descending=True, stable=True)[:cells].tolist()
    found = []
    for cell in order:
        (site, head), place = heads[cell // values.shape[1]], int(places.flatten()[cell])
        value = float(ranked.flatten()[cell])
        if value >= 0:
            found.append(AttentionCell(site, head, place // n, place % n, value))
    return tuple(found)
