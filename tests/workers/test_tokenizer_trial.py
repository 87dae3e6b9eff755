"""Texts are tried with the tokenizer ahead of the blocks that need them, each once."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from headwise.errors import TokenizerError
from jobs.inputs.models.tokenizing import TextError, TryingProcesses
from workers import tokenizer_trial
from workers.tokenizer_trial import TokenizerTrial

SOON = 60.0


class Tokenizer:
    """Stands in for the trying process: some texts are bad, and it may be made to wait."""

    def __init__(self, *bad: str) -> None:
        self.bad = bad
        self.tried: list[Sequence[Sequence[str]]] = []
        self.go = threading.Event()
        self.go.set()

    def try_content(self, content: str, texts: Sequence[Sequence[str]], _: object) -> None:
        assert content == "{}"
        assert self.go.wait(SOON)
        self.tried.append(texts)
        for index, (text,) in enumerate(texts):
            if text in self.bad:
                raise TextError(index, f"no {text}")


def trial(patch: pytest.MonkeyPatch, tokenizer: Tokenizer, count: int) -> TokenizerTrial:
    patch.setattr(tokenizer_trial, "try_content", tokenizer.try_content)
    return TokenizerTrial("{}", [[str(number)] for number in range(count)], TryingProcesses())


def test_only_the_first_block_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = Tokenizer()
    made = trial(monkeypatch, tokenizer, 20)
    assert made.failure(2) is None
    tokenizer.go.clear()
    assert made.failure(2) is None  # the next ones are being tried, or waited for
    tokenizer.go.set()
    for end in (4, 6, 8, 20):
        assert made.failure(end) is None
    assert [len(texts) for texts in tokenizer.tried][:2] == [2, 2]
    assert [text for texts in tokenizer.tried for (text,) in texts] == list(map(str, range(20)))


@pytest.mark.parametrize("bad", [0, 3, 11])
def test_a_bad_text_fails_its_own_block(monkeypatch: pytest.MonkeyPatch, bad: int) -> None:
    made = trial(monkeypatch, Tokenizer(str(bad)), 12)
    for end in range(2, 14, 2):
        found = made.failure(end)
        if bad < end:
            assert found is not None
            assert (found.index, str(found)) == (bad, f"no {bad}")
            return
        assert found is None
    raise AssertionError("the bad text was not found")


def test_nothing_is_tried_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = Tokenizer("1")
    made = trial(monkeypatch, tokenizer, 100)
    assert made.failure(2) is not None
    assert made.failure(100) is not None
    assert len(tokenizer.tried) == 1


def test_a_tokenizer_that_cannot_be_read_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(*_: object) -> None:
        raise TokenizerError("no tokenizer")

    made = trial(monkeypatch, Tokenizer(), 2)
    monkeypatch.setattr(tokenizer_trial, "try_content", unreadable)
    with pytest.raises(TokenizerError, match="no tokenizer"):
        made.failure(2)
