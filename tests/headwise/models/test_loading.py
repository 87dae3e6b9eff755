"""Loading: what is accepted, what is refused, and in which words."""

import json
import threading

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    BertForMaskedLM,
    BertTokenizer,
    FNetConfig,
    FNetForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
)

import headwise
from headwise.errors import (
    ModelNotFoundError,
    OptionError,
    TokenizerError,
    UnsafeWeightsError,
    UnsupportedModelError,
)
from headwise.replay import Replay
from tests.helpers import hub
from tests.helpers.classifiers import tiny


def save_tokenizer(folder):
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *(f"w{number}" for number in range(55))]
    BertTokenizer(vocab={token: i for i, token in enumerate(words)}).save_pretrained(folder)


@pytest.fixture
def folder(tmp_path):
    tiny(dtype=torch.float16).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    return tmp_path


def test_a_folder_is_loaded_in_the_wanted_precision(folder):
    loaded = headwise.load(folder)
    assert loaded.model.dtype == torch.float32
    assert loaded.dtype == "float32"
    assert loaded.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert [site.layer for site in loaded.sites] == [0, 1, 2]
    assert {site.heads for site in loaded.sites} == {4}
    assert loaded.sites[1].name == "bert.encoder.layer.1.attention.self"
    assert headwise.load(str(folder), dtype="float64", device="cpu").model.dtype == torch.float64
    result = headwise.attribute(loaded.model, loaded.tokenizer, ["w1 w2"])
    assert result.errors == (None,)


def test_every_family_is_accepted(family_model, tmp_path):
    family_model.save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    assert len(headwise.load(tmp_path).sites) == 3


def test_fingerprint_names_the_weights_and_the_configuration(folder, tmp_path_factory):
    first = headwise.load(folder).fingerprint
    assert len(first) == 64
    assert headwise.load(folder, dtype="float64").fingerprint == first
    other = tmp_path_factory.mktemp("other")
    tiny(dtype=torch.float16, seed=1).save_pretrained(other)
    save_tokenizer(other)
    assert headwise.load(other).fingerprint != first
    config = json.loads((folder / "config.json").read_text())
    config["id2label"]["0"] = "renamed"
    (folder / "config.json").write_text(json.dumps(config))
    assert headwise.load(folder).fingerprint != first


def test_parts_of_a_hub_model_are_reported_as_they_arrive(folder, tmp_path_factory):
    arrived, noticed = threading.Semaphore(0), []

    def wait_until_noticed():  # before the next part is sent
        noticed.append(arrived.acquire(timeout=30))

    cache = tmp_path_factory.mktemp("cache")
    with hub.serving(folder, cache, wait_until_noticed):
        loaded = headwise.load(hub.NAME, arrived=arrived.release)
        assert loaded.fingerprint == headwise.load(folder).fingerprint
        assert len(noticed) > 10
        assert all(noticed)


@pytest.mark.parametrize("name", ["/nowhere/at/all", "./missing", "~/missing-model-folder"])
def test_missing_folder(name):
    with pytest.raises(ModelNotFoundError, match="does not exist"):
        headwise.load(name)


def test_folder_without_config(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"no config\.json"):
        headwise.load(tmp_path)


def test_broken_config(folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelNotFoundError, match=r"config\.json"):
        headwise.load(folder)


def test_folder_without_weights(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match=r"no model\.safetensors"):
        headwise.load(folder)


def test_broken_weights(folder):
    (folder / "model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(ModelNotFoundError, match="weights"):
        headwise.load(folder)


def test_missing_weights_are_not_made_up(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UnsupportedModelError, match=r"are missing classifier\.weight"):
        headwise.load(folder)


def test_pickle_is_never_read(folder):
    (folder / "model.safetensors").unlink()
    # Reading it would fail with another error: it is no pickle at all.
    (folder / "pytorch_model.bin").write_bytes(b"boom")
    with pytest.raises(UnsafeWeightsError, match=r"pickle.*pytorch_model\.bin"):
        headwise.load(folder)


def test_no_classifier(tmp_path):
    BertForMaskedLM(tiny().config).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    with pytest.raises(UnsupportedModelError, match="BertForMaskedLM"):
        headwise.load(tmp_path)


def test_no_tokenizer(tmp_path):
    tiny().save_pretrained(tmp_path)
    with pytest.raises(TokenizerError, match="no tokenizer"):
        headwise.load(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int8"}, "dtype 'int8'"),
        ({"device": "tpu"}, "device 'tpu'"),
        ({"device": "cuda:x"}, "device 'cuda:x'"),
        ({"device": "cuda:99"}, "device 'cuda:99'"),
        ({"revision": "main"}, "revision 'main'"),
    ],
)
def test_bad_options(folder, options, message):
    with pytest.raises(OptionError, match=message):
        headwise.load(folder, **options)


SMALL = {"vocab_size": 60, "num_labels": 3, "pad_token_id": 0}


def test_an_unsupported_family_is_refused_by_name():
    model = FNetForSequenceClassification(
        FNetConfig(hidden_size=32, num_hidden_layers=2, intermediate_size=32, **SMALL)
    ).eval()
    with pytest.raises(UnsupportedModelError, match="'fnet'"), Replay(model):
        pass
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_decoder_without_a_padding_token_is_refused():
    """Its own code cannot tell where a padded text ends."""
    config = GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=40, vocab_size=60)
    model = GPT2ForSequenceClassification(config).eval()
    before = model.config._attn_implementation
    with pytest.raises(UnsupportedModelError, match="pad_token_id"), Replay(model):
        pass
    assert model.config._attn_implementation == before
    assert model.config.use_cache


def test_attention_that_is_not_softmax_is_refused():
    """A model whose own attention does something else with the same inputs."""
    model = tiny()
    layer = model.bert.encoder.layer[1].attention.self
    native = layer.forward

    def scaled(hidden, *args, **kwargs):
        output, weights = native(hidden, *args, **kwargs)
        factor = 1.0 if model.config._attn_implementation == "headwise" else 1.5
        return output * factor, weights

    layer.forward = scaled
    with pytest.raises(UnsupportedModelError, match="softmax"), Replay(model):
        pass


def test_shared_layers_are_found_once_per_use():
    """ALBERT runs one layer three times: three sites."""
    config = AlbertConfig(
        embedding_size=16, hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=40, initializer_range=0.3, **SMALL,
    )  # fmt: skip
    torch.manual_seed(0)
    model = AlbertForSequenceClassification(config).double().eval()
    with Replay(model) as replay:
        assert len(replay.sites) == 3
