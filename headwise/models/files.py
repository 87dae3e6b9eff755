"""Find and check the files of a model folder.

All checks of a folder before its model is built are here, without torch, so that a form refuses
what a worker would refuse. The files that are opened and checked, and part of the fingerprint, are
those of the configuration, the weights and the tokenizer.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from headwise.errors import (
    DamagedModelError,
    ModelError,
    TokenizerError,
    UnsafeWeightsError,
    UnsupportedModelError,
)

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"

VOCABULARIES = (
    *("tokenizer.json", "vocab.txt", "vocab.json", "vocab.bpe", "merges.txt", "tokenizer.model"),
    *("sentencepiece.bpe.model", "sentencepiece.model", "spiece.model", "spm.model", "dict.txt"),
    *("spm_char.model", "prophetnet.tokenizer", "byte_maps.json", "entity_vocab.json"),
    *("emoji.json", "bpe.codes", "word_shape.json", "word_pronunciation.json"),
)
"""Files that transformers' tokenizers take their vocabulary from; a test checks the list."""

TOKENIZER_SETTINGS = (
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    "chat_template.jinja",
)
GIVE_TOKEN_TYPES = frozenset(
    {"BertTokenizer", "DebertaTokenizer", "DebertaV2Tokenizer", "MobileBertTokenizer"}
)
"""Tokenizers whose calls give ``token_type_ids`` by default; a test checks the list."""
_NEED_NO_VOCABULARY = frozenset({"ByT5Tokenizer", "CanineTokenizer", "PerceiverTokenizer"})
"""Tokenizers of bytes or characters."""

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
_LARGEST = {"config": 4 << 20, "index": 64 << 20, "header": 32 << 20, "tokenizer": 256 << 20}
"""The maximum size of a file, or of the header of a weight file, in bytes."""

MAX_LAYERS = 1_000
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
LAYER_NAMES = (*LAYERS, "encoder_layers", "decoder_layers", "num_decoder_layers")
"""Names under which configurations count their layers."""
_LAYER = re.compile(r"^(?P<list>(?:.*?\.)?(?:layers?|h|blocks?))\.(?P<index>\d+)\.")

_LAST_LAYERS = (
    *("score.weight", "classifier.weight", "classifier.out_proj.weight"),
    "classification_head.out_proj.weight",
)
"""Names of the layer that computes the logits, of every supported family."""

MAX_LABELS = 10_000
_MOST = 10**9
"""No size of a model is larger."""
_VOCABULARY = ("vocab_size",)
_WIDTHS = (
    *("hidden_size", "d_model", "n_embd", "dim", "embedding_size", "word_embed_proj_dim"),
    "input_embedding_size",
)
HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads")
POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len")
_OTHER_SIZES = ("intermediate_size", "num_labels")
_OWN_HEAD_SIZE = ("head_dim", "d_kv", "attention_head_size", "kv_channels")
"""With these a head's size does not follow from the width."""
_EMBEDDING = re.compile(
    r"(?:^|\.)(?:word_embeddings|wte|embed_tokens|tok_embeddings|shared|tokens_embed|embed_in|w)"
    r"\.weight$"
)
_POSITION = re.compile(
    r"(?:^|\.)(?:position_embeddings|wpe|positions_embed|embed_positions)\.weight$"
)
_INTERMEDIATE = re.compile(r"(?:^|\.)intermediate\.dense\.weight$")
_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})

_SAVE_AGAIN = "write the folder again with save_pretrained()"


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """A folder whose files exist, are within size limits and match each other."""

    folder: Path
    config: Mapping[str, Any]
    weights: tuple[str, ...]
    """Names of the safetensors files."""
    tokenizer: tuple[str, ...]
    """Names of the tokenizer's files."""
    tokenizer_settings: Mapping[str, Any] = field(repr=False)
    shapes: Mapping[str, tuple[int, ...]] = field(repr=False)
    """The shape of every tensor in the weights, by its name."""

    @property
    def parameters(self) -> int:
        """The number of elements in the weights."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def words(self) -> int | None:
        """The number of words that have an embedding, or None if it has another name."""
        found = (shape[0] for name, shape in self.shapes.items() if _EMBEDDING.search(name))
        return next(found, None)

    @property
    def outputs(self) -> int | None:
        """The number of the classifier's outputs, or None if its last layer has another name."""
        return next((self.shapes[name][0] for name in _LAST_LAYERS if name in self.shapes), None)

    @property
    def token_types(self) -> int | None:
        """The number of token types with an embedding, if the tokenizer gives token types.

        Tokenizers that do not by default do so where their settings ask for it.
        """
        tokenizer_class = str(self.tokenizer_settings.get("tokenizer_class")).removesuffix("Fast")
        given = self.tokenizer_settings.get("model_input_names")
        named = given if isinstance(given, list) else ()
        typed = "token_type_ids" in named if named else tokenizer_class in GIVE_TOKEN_TYPES
        found = (
            shape[0]
            for name, shape in self.shapes.items()
            if name.endswith("token_type_embeddings.weight")
        )
        return next(found, None) if typed else None

    @property
    def truncated_to(self) -> int | None:
        """The number of tokens that the tokenizer's settings truncate texts to."""
        given = self.tokenizer_settings.get("model_max_length")
        # Without a limit it is astronomically large.
        if isinstance(given, int | float) and 1 < given < _MOST:
            return int(given)
        return None

    @property
    def names(self) -> tuple[str, ...]:
        """The files that are opened."""
        index = () if WEIGHTS in self.weights else (INDEX,)
        return (CONFIG, *index, *self.weights, *self.tokenizer)

    def fingerprints(self) -> tuple[str, str]:
        """Return two SHA-256 digests (hex) over the names and contents of the files.

        The first covers all files that are opened. The second omits the tokenizer, as earlier
        releases did, and finds the results of their jobs.
        """
        parts = {name: _identity(self.folder / name) for name in self.names}
        earlier = (CONFIG, *self.weights)
        whole = hashlib.sha256(b"".join(parts.values())).hexdigest()
        return whole, hashlib.sha256(b"".join(parts[name] for name in earlier)).hexdigest()


def _identity(path: Path) -> bytes:
    """A file's name, size and SHA-256."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    return json.dumps([path.name, path.stat().st_size]).encode() + digest


def read_model_files(folder: Path, within: Path | None = None) -> ModelFiles:
    """Find and check the files of a model folder.

    within: the folder that links may not lead out of, ``folder`` by default; a hub cache keeps
        the files beside its snapshots

    Raises the subclasses of ModelError. Reads the configuration, the index and the headers of the
    weight files; no tensor.
    """
    found = _Folder(folder, (within or folder).resolve())
    config = found.json(CONFIG, "config")
    if found.has("adapter_config.json"):
        raise UnsupportedModelError(
            f"model folder '{folder}' holds an adapter (adapter_config.json), whose base model "
            "would be read from elsewhere; save the merged model: model.merge_and_unload()"
        )
    weights = _weights(found)
    _check_sizes(folder, config)
    settings = {}
    if found.has("tokenizer_config.json"):
        settings = found.json("tokenizer_config.json", "config")
    shapes: dict[str, tuple[int, ...]] = {}
    for name in weights:
        shapes.update(_shapes(found.file(name)))
    _check_layers(folder, config, shapes)
    _check_shapes(folder, config, shapes)
    return ModelFiles(
        folder=folder,
        config=config,
        weights=weights,
        tokenizer=_tokenizer(found, settings),
        tokenizer_settings=settings,
        shapes=shapes,
    )


@dataclass(frozen=True)
class _Folder:
    """Access to the plain files of a folder, with limits on their size."""

    path: Path
    within: Path

    def has(self, name: str) -> bool:
        return (self.path / name).exists()

    def file(self, name: str, kind: str = "") -> Path:
        """The path of a file. Raises DamagedModelError and ModelError."""
        path = self.path / name
        if not path.exists():
            raise DamagedModelError(f"model folder '{self.path}' has no {name}; {_SAVE_AGAIN}")
        real = path.resolve()
        if not real.is_relative_to(self.within):
            raise ModelError(
                f"{name} in model folder '{self.path}' is a link that leads out of the folder; "
                "put the file itself there"
            )
        if not real.is_file():
            raise ModelError(f"{name} in model folder '{self.path}' is not a plain file")
        limit = _LARGEST.get(kind)
        if limit is not None and real.stat().st_size > limit:
            raise ModelError(
                f"{name} in model folder '{self.path}' has {real.stat().st_size:,} bytes; "
                f"at most {limit:,} are read"
            )
        return path

    def json(self, name: str, kind: str) -> dict[str, Any]:
        """The content of a JSON file that must hold an object."""
        path = self.file(name, kind)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise DamagedModelError(
                f"model folder '{self.path}' has no readable {name}: {reason}; {_SAVE_AGAIN}"
            ) from None
        if not isinstance(content, dict):
            raise DamagedModelError(
                f"{name} in model folder '{self.path}' is not a JSON object; {_SAVE_AGAIN}"
            )
        return content


def _weights(found: _Folder) -> tuple[str, ...]:
    """The names of the weight files: a single file, or else those of the index."""
    if found.has(WEIGHTS):
        return (WEIGHTS,)
    if not found.has(INDEX):
        _refuse_missing(found.path)
    listed = found.json(INDEX, "index").get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise ModelError(f"{INDEX} in model folder '{found.path}' has no weight_map; {_SAVE_AGAIN}")
    names = sorted({str(name) for name in listed.values()})
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise UnsafeWeightsError(
                f"{INDEX} in model folder '{found.path}' names {name!r}; only safetensors files "
                "in the folder itself are read"
            )
    return tuple(names)


def _refuse_missing(folder: Path) -> None:
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    if pickles:
        raise UnsafeWeightsError(
            f"model folder '{folder}' has weights only as pickle ({', '.join(pickles[:3])}), which "
            "can run code; if you trust them, convert them with model.save_pretrained(folder)"
        )
    raise DamagedModelError(f"model folder '{folder}' has no {WEIGHTS}; {_SAVE_AGAIN}")


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The tensors of a safetensors file; its header is checked, no tensor is read."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if size > _LARGEST["header"]:
        raise DamagedModelError(
            f"weights '{path}' are damaged: the header would have {size:,} bytes; "
            "save the weights again"
        )
    try:
        with safe_open(path, framework="np") as tensors:
            found = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118 - no mapping
            dtypes = {name: str(one.get_dtype()) for name, one in found.items()}
            shapes = {name: tuple(one.get_shape()) for name, one in found.items()}
    except (SafetensorError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DamagedModelError(
            f"weights '{path}' cannot be read as safetensors ({reason}); save the weights again"
        ) from None
    for name, dtype in dtypes.items():
        if name.endswith(".weight") and dtype not in _FLOATS:
            raise UnsupportedModelError(
                f"{name} in '{path}' has numbers of type {dtype}, as quantised models have; "
                "save the weights as float32, bfloat16 or float16"
            )
    return shapes


def _check_sizes(folder: Path, config: Mapping[str, Any]) -> None:
    """Every size that the configuration names must be a possible one. Raises DamagedModelError."""

    def refuse(name: str, value: object, rule: str) -> DamagedModelError:
        shown = f"{value:,}" if isinstance(value, int) else repr(value)
        return DamagedModelError(
            f"{CONFIG} in model folder '{folder}' says {name} = {shown:.80}; {rule}"
        )

    if config.get("quantization_config"):
        raise UnsupportedModelError(
            f"the model in '{folder}' is quantised (quantization_config); save it as float32, "
            "bfloat16 or float16"
        )
    for name in (*_VOCABULARY, *_WIDTHS, *HEADS, *POSITIONS, *_OTHER_SIZES):
        value = config.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _MOST:
            raise refuse(name, value, f"it must be a whole number from 1 to {_MOST:,}")
    labels = config.get("num_labels", 0)
    if labels > MAX_LABELS:
        raise refuse("num_labels", labels, f"at most {MAX_LABELS:,} labels are possible")
    width, heads = first_size(config, _WIDTHS), first_size(config, HEADS)
    if width and heads and not any(config.get(name) for name in _OWN_HEAD_SIZE) and width % heads:
        raise refuse("its width", width, f"it cannot be divided among {heads} heads")
    kinds, layers = config.get("attention_types"), first_size(config, LAYER_NAMES)
    if config.get("model_type") == "gpt_neo" and kinds is not None:
        try:
            counted = sum(len(names) * count for names, count in kinds)
        except (TypeError, ValueError):
            counted = -1
        if counted != layers:
            raise refuse("attention_types", kinds, f"it must name {layers} layers")


def first_size(config: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """The value under the first of these names that the configuration has; 0 if none."""
    return next((config[name] for name in names if config.get(name)), 0)


def _check_shapes(
    folder: Path, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Embeddings must have the sizes that the configuration names. Raises DamagedModelError."""
    widths = [config[name] for name in _WIDTHS if config.get(name)]
    words, positions = first_size(config, _VOCABULARY), first_size(config, POSITIONS)
    inner = first_size(config, ("intermediate_size",))
    for tensor, shape in shapes.items():
        if len(shape) != 2:
            continue
        rule = ""
        if _EMBEDDING.search(tensor):
            if words and shape[0] != words:
                rule = f"vocab_size = {words:,}"
            elif widths and shape[1] not in widths:
                rule = f"a width of {widths[0]:,}"
        elif _POSITION.search(tensor) and positions and not 0 <= shape[0] - positions <= 2:
            rule = f"{positions:,} positions"
        elif _INTERMEDIATE.search(tensor) and inner and shape[0] != inner:
            rule = f"intermediate_size = {inner:,}"
        if rule:
            raise DamagedModelError(
                f"{tensor} in model folder '{folder}' is {shape[0]:,} × {shape[1]:,}, but {CONFIG} "
                f"says {rule}; {_SAVE_AGAIN}"
            )


def _check_layers(
    folder: Path, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Refuse a configuration whose number of layers differs from that of the weights.

    Raises UnsupportedModelError. Families whose layers share weights are not compared.
    """
    promised = {
        name: config[name]
        for name in LAYER_NAMES
        if isinstance(config.get(name), int) and not isinstance(config[name], bool)
    }
    for name, count in promised.items():
        if not 1 <= count <= MAX_LAYERS:
            raise UnsupportedModelError(
                f"{CONFIG} in model folder '{folder}' says {name} = {count:,}; "
                f"a model has 1 to {MAX_LAYERS:,} layers"
            )
    lists: dict[str, set[int]] = {}
    for tensor in shapes:
        if match := _LAYER.match(tensor):
            lists.setdefault(match["list"], set()).add(int(match["index"]))
    # Layers that predict further tokens follow the others and are not loaded.
    spare = config.get("num_nextn_predict_layers") or 0
    allowed = {count + extra for count in promised.values() for extra in {0, spare}}
    for prefix, indices in lists.items():
        if promised and len(indices) not in allowed:
            names = " and ".join(f"{name} = {count}" for name, count in promised.items())
            raise UnsupportedModelError(
                f"the weights in model folder '{folder}' have {len(indices)} layers ({prefix}), "
                f"but {CONFIG} says {names}; {_SAVE_AGAIN}"
            )


def _tokenizer(found: _Folder, settings: Mapping[str, Any]) -> tuple[str, ...]:
    names = [name for name in (*VOCABULARIES, *TOKENIZER_SETTINGS) if found.has(name)]
    for name in names:
        found.file(name, "tokenizer")
    if set(names) & set(VOCABULARIES) or settings.get("tokenizer_class") in _NEED_NO_VOCABULARY:
        return tuple(sorted(names))
    raise TokenizerError(
        f"model folder '{found.path}' has no tokenizer; add one with "
        "tokenizer.save_pretrained(folder)"
    )
