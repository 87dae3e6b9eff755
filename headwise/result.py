"""The result of an attribution, with labels."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from headwise.attribution.cells import interactions
from headwise.errors import OptionError
from headwise.figures.sentence import KINDS, SentenceFigure
from headwise.html import Explanation, Picture, arcs_figure, heat_map, section, words_figure
from headwise.models.labels import Outputs
from headwise.naming import head_name
from headwise.replay import Site
from headwise.segmentation import Segmentation, Span
from headwise.sentences import words_of_spans
from headwise.trees import ROOT, TAU, TAU_LAST, Interactions, Tree, build
from headwise.wordpieces import Words, merge_pieces

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int32]
Bools = NDArray[np.bool_]

HeadPlace = tuple[int, int]
"""A head: the index of its site, and its number there."""

_FORMAT = "headwise-attribution-3"
_RAGGED = ("token_attribution", "matrices", "head_token_attribution", "attention", "attribution")
_HEADER = (
    "method",
    "labels",
    "outputs",
    "tokens",
    "word_index",
    "word_texts",
    "token_spans",
    "errors",
)
_SHOWN_EXAMPLES, _SHOWN_PAIRS = 3, 8


class HeadMatrices(NamedTuple):
    """The matrices of one head on one example, float32 [n, n]; rows are queries, columns keys.

    attention: probabilities; each row sums to one
    attribution: Attr, or the values of another method
    """

    attention: Floats
    attribution: Floats


def find_head(sites: Sequence[Site], name: str) -> HeadPlace:
    """Return the head of a name, such as ``L3 H7``. Raises OptionError for an unknown one."""
    names = {
        head_name(site.layer, head, site.attention_type): (site.index, head)
        for site in sites
        for head in range(site.heads)
    }
    if name not in names:
        known = list(names)
        raise OptionError(
            f"the model has no head {name!r}; its heads are {known[0]} to {known[-1]}"
        )
    return names[name]


@dataclass(frozen=True, kw_only=True)
class Edge:
    """One cell of an example's attribution, and the attention probability there."""

    site: Site
    head: int
    query: int
    key: int
    value: float
    attention: float


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """Attribution of E examples to the H heads of S sites; n is the number of tokens of an example.

    Attr is the paper's Attr_h(A), one value per cell (query, key), or the value that ``method``
    gives instead (see ``headwise.attribution.methods``). Padding never counts. Sites with fewer
    than H heads, and failed examples, have NaN (positions -1).

    Method ``embedding-gradient`` gives one value per token, not per pair. It is in the cell
    (token, token); all other cells are zero in ``matrices`` and absent from scores and edges, and
    ``edge_attention`` is the mean attention of the head to the token.

    method: the method that computed it
    sites: the sites of the model, in order of evaluation
    labels: names of the C classes
    outputs: what they are: ``classes``, ``labels`` (multi-label) or ``numbers`` (regression)
    scores: largest cell of Attr, float32 [E, S, H]
    totals: sum over the cells of Attr, float32 [E, S, H]
    positions: (query, key) of the largest cell, int32 [E, S, H, 2]
    attention_max: largest attention probability, float32 [E, S, H]
    attention_mean: mean over query rows of the largest probability of the row, float32 [E, S, H],
        the confidence of Voita et al. (2019). The mean over all cells is 1/n for every head.
    f0, f1: F(0) and F(1), the target scalar without and with the attention of the site, float64
        [E, S]; NaN where the method does not define them: only integrated gradients define both
    residual: (sum over heads and cells of Attr) - (F(1) - F(0)), float64 [E, S]; zero if the
        integral is exact (completeness)
    points: number of gradient evaluations, int32 [E, S]
    converged: the estimated relative error meets rtol, bool [E, S]; fixed rules and other methods,
        which estimate no error, converge if no value is NaN
    edge_site, edge_head, edge_query, edge_key: the k largest cells over all sites and heads,
        largest first, int32 [E, k]; -1 where there are fewer
    edge_value, edge_attention: Attr and attention probability of these, float32 [E, k]
    tokens: the n tokens of each example
    word_index: per example the index of the word that each token is a piece of
    word_texts: the words of each example; every token is a word if the tokenizer has no offsets
    token_spans: per example the characters of the text that each token is made of; None for special
        tokens, and for all tokens of a tokenizer without offsets
    predicted, target: class indices, int32 [E]; predicted is -1 for failed examples
    probabilities: of the classes, or of each label of a multi-label model; the outputs themselves
        of a regression, float32 [E, C]
    truncated: the text was truncated to the length limit, bool [E]
    errors: per example None, or the reason why it failed
    token_attribution: per example the sum of Attr over heads and queries, by key token, float32
        [S, n]; None if it failed
    interactions: per example the strongest cells of Attr summed over heads, for ``tree``; None if
        it failed
    matrices: per example Attr, float32 [S, H, n, n], None if it failed; or None if matrices were
        not kept
    head_token_attribution: per example the sum of Attr over queries, by head and key token, float32
        [S, H, n], None if it failed; or None if it was not kept
    heads: the K heads whose matrices were kept whole: index of the site, and head
    attention, attribution: per example the attention probabilities and Attr of these heads, from
        one forward pass, float32 [K, n, n], None if it failed; or None without such heads
    """

    method: str
    sites: tuple[Site, ...]
    labels: tuple[str, ...]
    scores: Floats
    totals: Floats
    positions: Ints
    attention_max: Floats
    attention_mean: Floats
    f0: Doubles
    f1: Doubles
    residual: Doubles
    points: Ints
    converged: Bools
    edge_site: Ints
    edge_head: Ints
    edge_query: Ints
    edge_key: Ints
    edge_value: Floats
    edge_attention: Floats
    tokens: tuple[tuple[str, ...], ...]
    word_index: tuple[tuple[int, ...], ...]
    word_texts: tuple[tuple[str, ...], ...]
    token_spans: tuple[tuple[Span | None, ...], ...]
    predicted: Ints
    target: Ints
    probabilities: Floats
    truncated: Bools
    errors: tuple[str | None, ...]
    token_attribution: tuple[Floats | None, ...]
    interactions: tuple[Interactions | None, ...]
    matrices: tuple[Floats | None, ...] | None = None
    head_token_attribution: tuple[Floats | None, ...] | None = None
    outputs: Outputs = Outputs.CLASSES
    heads: tuple[HeadPlace, ...] = ()
    attention: tuple[Floats | None, ...] | None = None
    attribution: tuple[Floats | None, ...] | None = None

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.tokens)

    def matrix(
        self, example: int, layer: int, head: int, attention_type: str | None = None
    ) -> Floats:
        """Return Attr of one head, float32 [n, n]; rows are queries.

        attention_type: for a layer with several sites, as in a decoder

        Raises OptionError if matrices were not kept, the example failed, the layer or head does
        not exist, or the layer has several sites and ``attention_type`` is missing.
        """
        matrices = self._kept_matrices(example)
        matrix: Floats = matrices[self._site(layer, head, attention_type).index, head]
        return matrix

    def head_matrices(
        self, example: int, layer: int, head: int, attention_type: str | None = None
    ) -> HeadMatrices:
        """Return the attention of one head beside its Attr, from one forward pass.

        attention_type: for a layer with several sites, as in a decoder

        Raises OptionError if the head was not among the ``heads`` that were kept, and like
        ``matrix``.
        """
        place = (self._site(layer, head, attention_type).index, head)
        if place not in self.heads or self.attention is None or self.attribution is None:
            site = self.sites[place[0]]
            name = head_name(site.layer, head, site.attention_type)
            raise OptionError(f"{name} was not kept; use attribute(..., heads=[{name!r}])")
        attention, attribution = self.attention[example], self.attribution[example]
        if attention is None or attribution is None:
            raise OptionError(f"example {example} failed: {self.errors[example]}")
        at = self.heads.index(place)
        return HeadMatrices(attention=attention[at], attribution=attribution[at])

    def _site(self, layer: int, head: int, attention_type: str | None) -> Site:
        """Return the site of a head."""
        sites = [
            s for s in self.sites if s.layer == layer and attention_type in (None, s.attention_type)
        ]
        if len(sites) > 1:
            types = ", ".join(repr(site.attention_type) for site in sites)
            raise OptionError(
                f"layer {layer} has several sites: pass attention_type, one of {types}"
            )
        if not sites or not 0 <= head < sites[0].heads:
            of_type = "" if attention_type is None else f" of type {attention_type!r}"
            raise OptionError(f"there is no layer {layer}{of_type} with a head {head}")
        return sites[0]

    def _kept_matrices(self, example: int) -> Floats:
        if self.matrices is None:
            raise OptionError("matrices were not kept; use attribute(..., matrices=True)")
        matrices = self.matrices[example]
        if matrices is None:
            raise OptionError(f"example {example} failed: {self.errors[example]}")
        return matrices

    def words(self) -> tuple[Words | None, ...]:
        """Return the words of each example with their attribution; None for failed ones."""
        return tuple(self.words_of(example) for example in range(len(self)))

    def words_of(self, example: int) -> Words | None:
        """Return ``words`` of one example."""
        by_token = self.token_attribution[example]
        if by_token is None:
            return None
        return merge_pieces(
            self.sites,
            self.word_texts[example],
            self.word_index[example],
            by_token,
            None if self.head_token_attribution is None else self.head_token_attribution[example],
            None if self.matrices is None else self.matrices[example],
        )

    def tree(
        self,
        example: int,
        *,
        root: str | int = ROOT,
        tau: float = TAU,
        tau_last: float = TAU_LAST,
    ) -> Tree:
        """Return the attribution tree of one example, by the paper's Algorithm 1.

        A notebook draws it.

        root: ``outgoing``, the rule of the paper's code; ``classifier``, the token that the
            classifier reads; or a position. See ``headwise.trees.build``.
        tau: threshold of edges, relative to the largest cell of their layer; below 0.2 only if
            matrices were kept
        tau_last: the same for the last layer

        Raises OptionError for an example that failed or does not exist, and for bad arguments.
        """
        self._check_example(example)
        found = self.interactions[example]
        if found is None:
            raise OptionError(f"example {example} failed: {self.errors[example]}")
        if self.matrices is not None and tau < found.floor:
            summed = np.nansum(self._kept_matrices(example), axis=1)
            found = interactions(summed, self.sites, floor=max(tau, 0))
        try:
            tokens = self.tokens[example]
            return build(found, self.sites, tokens, root=root, tau=tau, tau_last=tau_last)
        except ValueError as error:
            raise OptionError(str(error)) from error

    def picture(
        self,
        example: int,
        layer: int | None = None,
        head: int | None = None,
        attention_type: str | None = None,
    ) -> Picture:
        """Return a page with the words, strongest pairs and heads of one example.

        A notebook displays it.

        layer, head: colour the words by what this head reads, not by all of them
        attention_type: for a layer with several sites, as in a decoder

        Raises OptionError for an example or head that does not exist, for one of layer and head
        without the other, and if what heads read was not kept.
        """
        shown = self._shown(example, layer, head, attention_type)
        body = section(shown)
        if shown.error is None:
            body += heat_map("Scores: largest cell", self.sites, self.scores[shown.example])
        return Picture(title=f"Attribution of example {shown.example}", body=body)

    def figure(
        self,
        kind: str,
        example: int,
        layer: int | None = None,
        head: int | None = None,
        attention_type: str | None = None,
    ) -> SentenceFigure:
        """Return ``words``, ``arcs`` or ``tree`` of one example as a figure.

        A notebook displays it, and ``save`` writes it as SVG, PNG, PDF or CSV.

        layer, head, attention_type: for ``words``, as for ``picture``

        Raises OptionError for another kind, an example that failed, and as ``picture`` does.
        """
        if kind == "tree":
            return self.tree(example).figure()
        if kind not in KINDS:
            raise OptionError(f"there is no figure {kind!r}; use {', '.join(KINDS)}")
        shown = self._shown(example, layer, head, attention_type)
        if shown.error is not None:
            raise OptionError(f"example {example} failed: {shown.error}")
        return words_figure(shown) if kind == "words" else arcs_figure(shown)

    def _shown(
        self, example: int, layer: int | None, head: int | None, attention_type: str | None
    ) -> Explanation:
        self._check_example(example)
        shown = self._explanation(example % len(self))
        if layer is None and head is None:
            return shown
        return self._of_head(shown, layer, head, attention_type)

    def _of_head(
        self, shown: Explanation, layer: int | None, head: int | None, attention_type: str | None
    ) -> Explanation:
        """Colour the words by what one head reads."""
        if layer is None or head is None:
            raise OptionError("pass layer and head, or neither")
        site = self._site(layer, head, attention_type)
        if shown.words is not None and shown.words.by_head is None:
            kept = "matrices=True or head_token_attribution=True"
            raise OptionError(f"what heads read was not kept; use attribute(..., {kept})")
        return dataclasses.replace(shown, head=(site, head))

    def _repr_html_(self) -> str:
        failed = sum(error is not None for error in self.errors)
        body = [
            f"<p>Attribution by {escape(self.method)}: {len(self)} examples, {failed} failed</p>",
            heat_map("Importance I_h: mean score", self.sites, self.importance()),
            *(section(self._explanation(e)) for e in range(min(_SHOWN_EXAMPLES, len(self)))),
        ]
        return Picture(title="Attribution", body="".join(body))._repr_html_()

    def _explanation(self, example: int) -> Explanation:
        words = self.words_of(example)
        if words is None:
            return Explanation(example=example, error=self.errors[example])
        by_words = words.matrix is not None
        segmentation = Segmentation(
            word_index=self.word_index[example], spans=self.token_spans[example]
        )
        return Explanation(
            example=example,
            prediction=self._prediction(example),
            target=self.labels[int(self.target[example])],
            words=words,
            written=words_of_spans(self.word_texts[example], segmentation),
            pairs=words.pairs(_SHOWN_PAIRS) if by_words else self.edges_of(example, _SHOWN_PAIRS),
            texts=words.texts if by_words else self.tokens[example],
            places=range(len(words.texts)) if by_words else self.word_index[example],
            unit="words" if by_words else "tokens",
        )

    def _prediction(self, example: int) -> str:
        """The prediction in words: the strongest class or label, or the attributed number."""
        number = self.outputs is Outputs.NUMBERS
        index = int((self.target if number else self.predicted)[example])
        name, value = self.labels[index], float(self.probabilities[example, index])
        if number:
            return f"{name} is {value:.4g}"
        strongest = "predicted" if self.outputs is Outputs.CLASSES else "strongest label"
        return f"{strongest} {name} ({value:.3f})"

    def _check_example(self, example: int) -> None:
        if not -len(self) <= example < len(self):
            raise OptionError(f"there is no example {example}; there are {len(self)}")

    def edges(self, k: int | None = None) -> tuple[tuple[Edge, ...], ...]:
        """Return the k largest cells of each example, by default all kept ones, largest first."""
        return tuple(self.edges_of(example, k) for example in range(len(self)))

    def edges_of(self, example: int, k: int | None = None) -> tuple[Edge, ...]:
        """Return ``edges`` of one example."""
        return tuple(
            Edge(
                site=self.sites[self.edge_site[example, rank]],
                head=int(self.edge_head[example, rank]),
                query=int(self.edge_query[example, rank]),
                key=int(self.edge_key[example, rank]),
                value=float(self.edge_value[example, rank]),
                attention=float(self.edge_attention[example, rank]),
            )
            for rank in range(self.edge_site.shape[1])[:k]
            if self.edge_site[example, rank] >= 0
        )

    def importance(self) -> Floats:
        """Return I_h, the mean score over the examples that did not fail, float32 [S, H]."""
        good = np.array([error is None for error in self.errors], dtype=bool)
        if not good.any():
            return np.full(self.scores.shape[1:], math.nan, dtype=np.float32)
        mean: Floats = self.scores[good].mean(axis=0, dtype=np.float64).astype(np.float32)
        return mean

    def to_dataframe(self) -> pd.DataFrame:
        """Return a pandas DataFrame with one row per example, site and head."""
        import pandas as pd  # slow to import, and optional

        e, s, h = self.scores.shape
        example, site, head = np.meshgrid(np.arange(e), np.arange(s), np.arange(h), indexing="ij")
        frame = pd.DataFrame(
            {
                "example": example.ravel(),
                "layer": np.array([site.layer for site in self.sites])[site.ravel()],
                "attention_type": np.array([site.attention_type for site in self.sites])[
                    site.ravel()
                ],
                "head": head.ravel(),
                "score": self.scores.ravel(),
                "total": self.totals.ravel(),
                "query": self.positions[..., 0].ravel(),
                "key": self.positions[..., 1].ravel(),
                "attention_max": self.attention_max.ravel(),
                "attention_mean": self.attention_mean.ravel(),
            }
        )
        heads = np.array([site.heads for site in self.sites])
        return frame[head.ravel() < heads[site.ravel()]].reset_index(drop=True)

    def save(self, path: str | Path) -> None:
        """Write everything to one safetensors file."""
        arrays = {
            name: np.ascontiguousarray(value)
            for name, value in vars(self).items()
            if isinstance(value, np.ndarray)
        }
        for name in _RAGGED:
            for example, array in enumerate(getattr(self, name) or ()):
                if array is not None:
                    arrays[f"{name}.{example}"] = np.ascontiguousarray(array)
        for example, found in enumerate(self.interactions):
            if found is not None:
                packed = np.frombuffer(found.to_json().encode(), dtype=np.uint8)
                arrays[f"interactions.{example}"] = packed
        header = {name: getattr(self, name) for name in _HEADER}
        header["sites"] = [dataclasses.asdict(site) for site in self.sites]
        header["heads"] = self.heads
        header["has_matrices"] = self.matrices is not None
        header["has_head_token_attribution"] = self.head_token_attribution is not None
        # A single entry: safetensors writes several in an order that varies from run to run.
        save_file(arrays, Path(path), metadata={_FORMAT: json.dumps(header)})

    @classmethod
    def load(cls, path: str | Path) -> Attribution:
        """Read a file that ``save`` wrote. Raises OptionError for any other file."""
        try:
            with safe_open(Path(path), framework="numpy") as file:
                stored: dict[str, str] = file.metadata() or {}
                arrays: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise OptionError(f"'{path}' is not a safetensors file: {error}") from error
        if _FORMAT not in stored:
            raise OptionError(f"'{path}' does not hold an attribution of this version")
        header = json.loads(stored[_FORMAT])
        tokens = tuple(tuple(example) for example in header["tokens"])
        ragged = {
            name: tuple(arrays.pop(f"{name}.{e}", None) for e in range(len(tokens)))
            for name in _RAGGED
        }
        # Earlier files have none.
        heads = tuple((site, head) for site, head in header.get("heads", ()))
        packed = [arrays.pop(f"interactions.{e}", None) for e in range(len(tokens))]
        return cls(
            method=header["method"],
            sites=tuple(Site.from_json(site) for site in header["sites"]),
            labels=tuple(header["labels"]),
            # Earlier files do not say.
            outputs=Outputs(header.get("outputs", Outputs.CLASSES)),
            tokens=tokens,
            word_index=tuple(tuple(example) for example in header["word_index"]),
            word_texts=tuple(tuple(example) for example in header["word_texts"]),
            token_spans=_read_spans(header),
            errors=tuple(header["errors"]),
            token_attribution=ragged["token_attribution"],
            interactions=tuple(
                None if found is None else Interactions.from_json(found.tobytes().decode())
                for found in packed
            ),
            matrices=ragged["matrices"] if header["has_matrices"] else None,
            head_token_attribution=(
                ragged["head_token_attribution"]
                if header.get("has_head_token_attribution")
                else None
            ),
            heads=heads,
            attention=ragged["attention"] if heads else None,
            attribution=ragged["attribution"] if heads else None,
            **arrays,
        )


def _read_spans(header: dict[str, Any]) -> tuple[tuple[Span | None, ...], ...]:
    """Read the characters of tokens; earlier files have none."""
    unknown = [[None] * len(tokens) for tokens in header["tokens"]]
    return tuple(
        tuple(None if span is None else Span(*span) for span in example)
        for example in header.get("token_spans", unknown)
    )
