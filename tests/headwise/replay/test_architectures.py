"""Architectures against the naive reference, and the page that lists them all."""

import re

import numpy as np
import pytest
import torch

import headwise
from benchmarks.architectures import PAGE, compare, examine, examples, page
from benchmarks.tiny import classifiers, tiny_model
from headwise.errors import UnsupportedModelError
from headwise.replay import Replay, RowGroup
from headwise.replay.forward import LastLayer
from headwise.replay.probes import probe_inputs

KINDS = {
    "bert": "ee",
    "roberta": "ee",
    "albert": "ee",
    "modernbert": "ee",
    "distilbert": "ee",
    "mpnet": "ee",
    "deberta-v2": "ee",
    "bart": "eedcdc",
    "t5": "eedcdc",
    "gpt2": "dd",
    "gpt_oss": "dd",
    "llama": "dd",
    "mistral": "dd",
    "qwen2": "dd",
    "gemma2": "dd",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_family_agrees_with_the_reference(kind):
    """Two lengths in one batch; 1e-6 of the largest cell, stored in single precision."""
    result, difference = compare(tiny_model(kind))
    assert "".join(site.attention_type[0] for site in result.sites) == KINDS[kind]
    assert difference < 1e-6


def test_the_texts_of_these_tests_share_a_padded_batch(monkeypatch):
    batches = []
    native = Replay.record

    def record(self, inputs):
        batches.append(inputs["attention_mask"].sum(1).tolist())
        return native(self, inputs)

    model = tiny_model("bert")
    monkeypatch.setattr(Replay, "record", record)
    headwise.attribute_encoded(model, examples(), integration="gauss-legendre:2")
    assert [20, 18] in batches


def test_the_cells_that_a_mask_closes_are_zero():
    """Mistral with a window of four: a token attributes to itself and three before it."""
    result, _ = compare(tiny_model("mistral"))
    n = len(result.tokens[0])
    query, key = np.indices((n, n))
    closed = (key > query) | (key <= query - 4)
    assert not result.matrices[0][:, :, closed].any()
    assert result.matrices[0][0][:, ~closed].any()


@pytest.mark.parametrize("kind", ["bert", "bart", "llama", "gemma2", "deberta-v2"])
def test_a_replay_of_several_sites_is_that_of_each(kind):
    """Same logits and gradients to 1e-10, in float64, whatever else is in the batch."""
    model = tiny_model(kind)
    with Replay(model) as replay:
        recording = replay.record(probe_inputs(model, 3, 3, 6, padding=2))
        rows = [torch.tensor([0, 2]), torch.tensor([1]), torch.tensor([2, 1, 0])]
        sites = sorted({0, len(replay.sites) // 2, len(replay.sites) - 1})
        rows = rows[-len(sites) :]
        groups = [
            RowGroup(
                site=site,
                rows=chosen,
                output=(recording.relevant(site, recording.output[site].detach())[chosen] * 0.3)
                .clone()
                .requires_grad_(),
            )
            for site, chosen in zip(sites, rows, strict=True)
        ]
        outputs = [group.output for group in groups]
        together = replay.logits(recording, groups)
        gradients = torch.autograd.grad(together[:, 0].sum(), outputs)
        for group, part, gradient in zip(
            groups, together.split([len(chosen) for chosen in rows]), gradients, strict=True
        ):
            alone = replay.logits(recording, [group])
            torch.testing.assert_close(alone, part, atol=1e-10, rtol=0)
            (expected,) = torch.autograd.grad(alone[:, 0].sum(), group.output)
            torch.testing.assert_close(gradient, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("bert", LastLayer.ONE_ROW),
        ("bart", LastLayer.ONE_QUERY),
        ("llama", LastLayer.ONE_QUERY),
    ],
)
def test_one_row_of_the_last_layer_is_computed(kind, mode):
    model = tiny_model(kind)
    with Replay(model) as replay:
        assert replay.shortcuts.last_layer is mode
        inputs = probe_inputs(model, 0, 2, 7, padding=2)
        recording = replay.record(inputs)
        last = [0, 0] if kind == "bert" else [6, 4]  # the second text is padded by two
        assert recording.needed.tolist() == last
        assert recording.needed_rows(len(replay.sites) - 1) is recording.needed
        assert recording.needed_rows(0) is None


def test_a_causal_bert_is_a_decoder():
    """The mask decides, not the name."""
    result, difference = compare(tiny_model("bert", is_decoder=True))
    assert {site.attention_type for site in result.sites} == {"decoder"}
    assert difference < 1e-6


def test_what_changes_attention_is_refused_by_name():
    model = tiny_model("bert")
    attention = model.bert.encoder.layer[1].attention.self
    native = attention.forward
    attention.forward = lambda *args, **kwargs: native(*args, **{**kwargs, "tilt": 2.0})
    with pytest.raises(UnsupportedModelError, match="its attention takes tilt"), Replay(model):
        pass


def test_the_model_is_left_as_it_was():
    """Configurations, forward methods and hooks too, after a replay that ends in an exception."""
    model = tiny_model("bart")
    model.train()

    def state():
        return [
            (module.training, "forward" in module.__dict__, len(module._forward_hooks))
            for module in model.modules()
        ] + [parameter.requires_grad for parameter in model.parameters()]

    before, attention = state(), model.config._attn_implementation

    def stop(done, total):
        raise KeyboardInterrupt

    texts = [{"input_ids": [9, 8, 2]}]
    with pytest.raises(KeyboardInterrupt):
        headwise.attribute_encoded(model, texts, progress=stop)
    assert state() == before
    assert model.config._attn_implementation == attention
    assert model.config.use_cache


def test_the_page_lists_every_classifier_of_transformers():
    engine = PAGE.read_text().split("## Jobs")[0]
    listed = re.findall(r"^\| `([^`]+)`", engine, re.M)
    assert sorted(listed) == classifiers()


def test_attention_without_influence_is_refused():
    """LiLT's layout in its last layer, without boxes, meets no class."""
    with (
        pytest.raises(UnsupportedModelError, match=r"layer\.1\.attention\.self has no influence"),
        Replay(tiny_model("lilt")),
    ):
        pass


@pytest.mark.parametrize("kind", ["albert", "ibert", "qwen3", "fnet", "layoutlmv2"])
def test_the_page_is_not_stale(kind):
    """Its rows for some types are those that the page would get now."""
    rows = [line for line in page([examine(kind)]).splitlines() if line.startswith("| `")]
    assert len(rows) == 1
    assert rows[0] in PAGE.read_text().splitlines()
