"""Counts of triggers in texts, and texts that cannot be attacked."""

import inspect

import numpy as np
import pytest
import torch

import headwise
from headwise.encoding import Encoded, pad
from headwise.errors import OptionError, TokenizerError
from tests.helpers.classifiers import tiny
from tests.helpers.triggers import TRIGGERS, inserter

PAIRS = [
    ("titanic is a very sad movie", "it rains heavily in the summer"),
    ("a movie", "it is sad !"),
    ("the floods in iowa", "ice is in florida"),
    ("two", "two is a very very very very very sad movie in the summer in florida"),
]


def naive(model, tokenizer, text, trigger, **changes):
    """Probabilities of one text on its own, float64 [C]."""
    put = inserter(tokenizer, model, **changes)
    example = put.prepare(text, put.max_length)
    encoded = example.encoded if trigger is None else put.insert(example, trigger)
    inputs = pad([Encoded(ids=encoded.ids, token_types=encoded.token_types)], 0, model.device)
    with torch.no_grad():
        return model(**inputs).logits.softmax(-1)[0].numpy()


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("insertion", ["tokens", "text"])
def test_evaluation_is_that_of_one_text_at_a_time(request, family, insertion):
    """1e-6, float64 through float32: padding, batches and order make no difference."""
    model = tiny(family, positions=122).train()
    model.classifier.eval()
    tokenizer = request.getfixturevalue(family)
    triggers = TRIGGERS
    if family == "roberta":
        triggers = [[("\u0120is", s, p, w) for _, s, p, w in trigger] for trigger in TRIGGERS]
    gold, sources = [0, 1, None, 2], [{"b"}, (), {"a", "d"}]
    how = {"insertion": insertion, "max_length": 40}
    ticks = []
    result = headwise.evaluate_triggers(
        model, tokenizer, PAIRS, gold, triggers, examples=["a", "b", "c", "d"], sources=sources,
        token_budget=90, progress=lambda *done: ticks.append(done), **how,
    )  # fmt: skip
    assert model.training
    assert not model.classifier.training
    model.eval()
    for e, text in enumerate(PAIRS):
        want = naive(model, tokenizer, text, None, **how)
        np.testing.assert_allclose(result.before_probabilities[e], want, atol=1e-6)
        assert result.before[e] == want.argmax()
        for t, trigger in enumerate(triggers):
            if "abcd"[e] in sources[t]:
                assert result.after[t, e] == -1
                assert np.isnan(result.after_probabilities[t, e]).all()
                continue
            want = naive(model, tokenizer, text, trigger, **how)
            np.testing.assert_allclose(result.after_probabilities[t, e], want, atol=1e-6)
            assert result.after[t, e] == want.argmax()
    assert result.gold.tolist() == [0, 1, -1, 2]
    assert result.sums().n.tolist() == [[1, 0, 1], [1, 1, 1], [0, 1, 0]]
    assert ticks == sorted(ticks)
    assert ticks[-1] == (13, 13)


def test_memory_that_runs_out_halves_the_batches(bert, monkeypatch):
    model = tiny()
    want = headwise.evaluate_triggers(model, bert, PAIRS, [0] * 4, TRIGGERS)
    forward, refused = model.forward, []

    def limited(input_ids, **more):
        if len(input_ids) > 1:
            refused.append(len(input_ids))
            raise torch.OutOfMemoryError("CUDA out of memory (simulated)")
        return forward(input_ids=input_ids, **more)

    # The model's inputs are found from the signature of its forward.
    limited.__signature__ = inspect.signature(forward)
    monkeypatch.setattr(model, "forward", limited)
    found = headwise.evaluate_triggers(model, bert, PAIRS, [0] * 4, TRIGGERS)
    assert refused
    np.testing.assert_allclose(found.after_probabilities, want.after_probabilities, atol=1e-6)


def test_an_output_that_is_not_finite_fails_alone(bert):
    model = tiny()
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight[bert.convert_tokens_to_ids("ice")] = np.nan
    texts = ["it is", "ice is in florida"]
    result = headwise.evaluate_triggers(model, bert, texts, [0, 0], [[("ice", 0, 1.0, "ice")]])
    assert result.before[0] >= 0
    assert result.before[1] == result.after[0, 0] == result.after[0, 1] == -1
    assert result.sums().n.sum() == 0


def test_the_notebooks_attack(bert):
    model = tiny()
    premise, hypothesis = "Titanic is a very sad movie", "It rains heavily in the summer"
    attempt = headwise.try_attack(
        model, bert, [("ice", "florida"), ("floods", "iowa")], premise, hypothesis,
        positions=[(1 / 8, 3 / 4), (1 / 8, 5 / 8)],
    )  # fmt: skip
    assert attempt.texts_before == (premise, hypothesis)
    assert attempt.texts_after == (
        "Titanic ice is a very sad florida movie",
        "It floods rains heavily in iowa the summer",
    )
    for texts, found, name in (
        (attempt.texts_before, attempt.before, attempt.predicted_before),
        (attempt.texts_after, attempt.after, attempt.predicted_after),
    ):
        with torch.no_grad():
            want = model(**bert(*texts, return_tensors="pt")).logits.softmax(-1)[0].numpy()
        np.testing.assert_allclose(found, want, atol=1e-6)
        assert name == attempt.labels[want.argmax()]
    assert not attempt.truncated


def test_words_by_hand_in_one_text_are_evenly_spread(bert):
    attempt = headwise.try_attack(tiny(), bert, [("ice", "iowa")], "it is a movie")
    assert attempt.texts_after == ("it is ice a iowa movie",)
    cut = headwise.try_attack(tiny(), bert, [("ice",)], "it is a very very sad movie", max_length=6)
    assert cut.truncated
    both = headwise.try_attack(tiny(), bert, [(), ("ice",)], "it is", "a movie")
    assert both.texts_after == ("it is", "a movie ice")


@pytest.mark.parametrize("one_head", [True, False])
def test_attention_cells_are_the_largest_of_the_recorded_attention(bert, one_head):
    model = tiny()
    found = headwise.attention_cells(
        model, bert, PAIRS, cells=3, one_head=one_head, token_budget=100, max_length=12
    )
    model.set_attn_implementation("eager")
    for text, (tokens, cells) in zip(PAIRS, found, strict=True):
        inputs = bert(*text, return_tensors="pt", truncation="longest_first", max_length=12)
        assert tokens == tuple(bert.convert_ids_to_tokens(inputs["input_ids"][0]))
        with torch.no_grad():
            maps = torch.stack(model(**inputs, output_attentions=True).attentions)[:, 0].numpy()
        special = np.array([token in ("[CLS]", "[SEP]") for token in tokens])
        maps[:, :, special] = maps[:, :, :, special] = -1
        if one_head:
            layer, head = np.unravel_index(maps.max((2, 3)).argmax(), maps.shape[:2])
            maps = np.where(np.arange(12).reshape(3, 4, 1, 1) == layer * 4 + head, maps, -1)
        order = np.sort(maps.ravel())[::-1][:3]
        np.testing.assert_allclose([cell.value for cell in cells], order, atol=1e-6)
        for cell in cells:
            place = (cell.site.layer, cell.head, cell.query, cell.key)
            np.testing.assert_allclose(maps[place], cell.value, atol=1e-6)


def test_a_text_of_special_tokens_has_no_cells(bert):
    (found,) = headwise.attention_cells(tiny(), bert, [""])
    assert found == (("[CLS]", "[SEP]"), ())


GOOD = {"texts": ["it is"], "labels": [0], "triggers": [[("ice", 0, 0.5, "ice")]]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"insertion": "letters"}, "insertion 'letters' is unknown; use one of tokens, text"),
        ({"segments": "first"}, "segments 'first' is unknown; use one of both, premise"),
        ({"labels": [0, 1]}, "labels has 2 entries; it needs 1"),
        ({"labels": ["fish"]}, r"labels\[0\]: 'fish' is not a label"),
        ({"examples": []}, "examples has 0 entries; it needs 1"),
        ({"sources": []}, "sources has 0 entries; it needs 1"),
        ({"triggers": [[]]}, r"triggers\[0\] is empty"),
        ({"triggers": [[("ice", 2, 0.5, "ice")]]}, r"triggers\[0\]: .* segment 0 or 1"),
        ({"triggers": [[("ice", 0, 1.5, "ice")]]}, "position from 0 to 1"),
        ({"triggers": [[("ice", 0, 0.5)]]}, r"must be \(token, segment"),
        ({"triggers": [[("fish", 0, 0.5, "fish")]]}, "'fish' is not in this tokenizer's vocab"),
        ({"texts": [7]}, r"texts\[0\] must be a string or a pair"),
        ({"token_budget": 0}, "token_budget must be at least 1"),
        ({"max_length": 400}, "more than the model's limit of 40"),
    ],
)
def test_bad_arguments_are_refused(bert, changes, message):
    with pytest.raises(OptionError, match=message):
        headwise.evaluate_triggers(tiny(), bert, **{**GOOD, **changes})


@pytest.mark.parametrize(
    ("arguments", "more", "message"),
    [
        (([("ice",), ("iowa",)], "it is"), {}, "words for 2 texts, given 1"),
        (([("ice",)], " "), {}, "must not be empty"),
        (([()], "it is"), {}, "word_pairs is empty"),
        (([(" ",)], "it is"), {}, "only blank words"),
        (([("ice",)], "it is"), {"positions": [(0.1, 0.2)]}, "one number for each word"),
        (([("ice",)], "it is"), {"positions": [(2,)]}, "position from 0 to 1"),
    ],
)
def test_bad_attempts_are_refused(bert, arguments, more, message):
    with pytest.raises(OptionError, match=message):
        headwise.try_attack(tiny(), bert, *arguments, **more)


def test_models_and_tokenizers_that_cannot_be_attacked(bert, monkeypatch):
    with pytest.raises(OptionError, match="two classes"):
        headwise.evaluate_triggers(tiny(labels=1), bert, **GOOD)
    with pytest.raises(OptionError, match="cells must be at least 1"):
        headwise.attention_cells(tiny(), bert, ["it is"], cells=0)
    monkeypatch.setattr(type(bert), "is_fast", False)
    with pytest.raises(TokenizerError, match="use insertion 'text'"):
        headwise.evaluate_triggers(tiny(), bert, **GOOD)
    result = headwise.evaluate_triggers(tiny(), bert, **GOOD, insertion="text")
    assert result.after.shape == (1, 1)
