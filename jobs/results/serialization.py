"""Results as bytes, for what an attempt has computed of a block when it is stopped.

Arrays are stored as NumPy stores them; the rest is JSON, read by the types of the fields. Nothing
in the bytes is executed.
"""

from __future__ import annotations

import base64
import io
import json
import types
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints
from zipfile import BadZipFile

import numpy as np

from jobs.results.base import ShardResult

R = TypeVar("R", bound=ShardResult)

_JSON: dict[Any, Any] = {str: str, int: int, bool: bool, float: (int, float), bytes: str}
"""Types of values, and those that JSON has for them."""


class UnreadableError(Exception):
    """The bytes are those of another release, or damaged."""


def to_bytes(result: ShardResult) -> bytes:
    """Return the bytes of results."""
    arrays: list[np.ndarray[Any, Any]] = []
    text = json.dumps(_plain(result, arrays))
    file = io.BytesIO()
    numbered: dict[str, Any] = {f"a{number}": array for number, array in enumerate(arrays)}
    np.savez_compressed(file, text=np.frombuffer(text.encode(), dtype=np.uint8), **numbered)
    return file.getvalue()


def from_bytes(cls: type[R], data: bytes) -> R:
    """Read the results of a kind. Raises UnreadableError."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            plain = json.loads(file["text"].tobytes())
            found: R = _typed(cls, plain, {int(n[1:]): file[n] for n in file.files if n != "text"})
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        EOFError,
        OSError,
        BadZipFile,
    ) as error:
        raise UnreadableError(f"{type(error).__name__}: {error}") from error
    return found


def _plain(value: Any, arrays: list[np.ndarray[Any, Any]]) -> Any:
    """A value as JSON holds it; an array becomes its number."""
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return len(arrays) - 1
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name), arrays) for f in fields(value)}
    if isinstance(value, dict):
        return {key: _plain(one, arrays) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, arrays) for one in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _typed(hint: Any, plain: Any, arrays: dict[int, np.ndarray[Any, Any]]) -> Any:
    """The value of a type that `_plain` made this of."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        (some,) = (one for one in arguments if one is not types.NoneType)
        return None if plain is None else _typed(some, plain, arrays)
    if origin is np.ndarray:
        return arrays[plain]
    if origin is dict:
        key, value = arguments
        return {key(name): _typed(value, one, arrays) for name, one in plain.items()}
    if origin is list:
        return [_typed(arguments[0], one, arrays) for one in plain]
    if origin is tuple:
        each = arguments[:1] * len(plain) if arguments[-1] is Ellipsis else arguments
        return tuple(_typed(one, part, arrays) for one, part in zip(each, plain, strict=True))
    if is_dataclass(hint) and isinstance(hint, type):
        hints = get_type_hints(hint)
        return hint(**{name: _typed(hints[name], one, arrays) for name, one in plain.items()})
    if isinstance(hint, type) and issubclass(hint, tuple):  # a NamedTuple
        return hint(*plain)
    if not isinstance(plain, _JSON.get(hint, object)):
        raise TypeError(f"{plain!r:.40} in place of {hint.__name__}")
    return base64.b64decode(plain) if hint is bytes else plain
