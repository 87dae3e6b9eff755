"""The process that tries a tokenizer, under the operating system's limits.

`jobs.inputs.models.tokenizing` starts it: a normalizer that makes gigabytes of a word, or a pattern
that takes for ever, costs this process and no other. It reads requests, JSON objects, a line each,
from standard input until that ends. A request without a tokenizer is about the last one. It answers
in JSON lines:

    {"vocabulary": largest id of the vocabulary}        the tokenizer was read
    {"done": count, "largest_type": type, "lengths": [tokens, ...]}
                                                        so many texts were tokenized, and so on
    {"end": true}                                       or
    {"unreadable": reason}                              or
    {"index": number, "reason": ...}                    a text that cannot be tokenized

and ends, instead of a last answer, where it does not know which text is to blame.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer

from jobs.processes.limits import limit_process


def main() -> None:
    """Answer the requests on standard input and end the process."""
    tokenizer: Tokenizer | None = None
    read: Mapping[str, object] = {}
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        if "path" in request:
            limit_process({resource.RLIMIT_DATA: request["memory"], resource.RLIMIT_FSIZE: 0})
            tokenizer, read = _read(request)
        _say(message := read)
        if tokenizer is not None:
            for message in _answer(tokenizer, request["texts"], request["step"]):
                _say(message)
        if message.keys().isdisjoint(("end", "index")):
            break
    os._exit(0)


def _say(message: Mapping[str, object]) -> None:
    sys.stdout.buffer.write(json.dumps(message).encode("ascii") + b"\n")
    sys.stdout.buffer.flush()


def _read(request: Mapping[str, Any]) -> tuple[Tokenizer | None, Mapping[str, object]]:
    """Read a tokenizer; the answer says its vocabulary, or why there is none."""
    try:
        made = _tokenizer(request)
        words = made.get_vocab(with_added_tokens=False)
    except BaseException as error:  # noqa: BLE001 - Rust panics; the process ends anyway
        return None, {"unreadable": _reason(error)}
    return made, {"vocabulary": max(words.values(), default=0)}


def _answer(
    made: Tokenizer, texts: Sequence[Sequence[str]], step: int
) -> Iterator[Mapping[str, object]]:
    for lo in range(0, len(texts), step):
        chunk = [tuple(parts) if len(parts) > 1 else parts[0] for parts in texts[lo : lo + step]]
        try:
            encoded = made.encode_batch(chunk)
        except BaseException as error:  # noqa: BLE001 - as above
            if step == 1:
                yield {"index": lo, "reason": _reason(error)}
            # Otherwise no answer: the batch is tried again, text by text.
            return
        yield {
            "done": lo + len(chunk),
            "largest_type": max((max(one.type_ids, default=0) for one in encoded), default=0),
            "lengths": [len(one.ids) for one in encoded],
        }
    yield {"end": True}


def _tokenizer(request: Mapping[str, Any]) -> Tokenizer:
    path = request["path"]
    made = Tokenizer.from_str(request["content"]) if path is None else Tokenizer.from_file(path)
    made.no_padding()
    made.no_truncation()
    return made


def _reason(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


if __name__ == "__main__":
    main()
