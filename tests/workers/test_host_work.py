"""A shard's next block is prepared, and its last one becomes a result, while one is computed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from db.queue.claims import Claim
from db.results.commit import ShardInput
from jobs.inputs.models.tokenizing import TextError
from tests.helpers.jobs import result_of
from workers import host_work
from workers.block import Block
from workers.executor import Attempt, BlockError
from workers.heartbeat import Stopped
from workers.kinds import COMPUTE, PREPARE
from workers.model_cache import ModelCache

SOON = 60.0
"""Seconds after which a test has failed: what is waited for comes at once."""
SPEC = {
    "kind": "attribution",
    "model": {"name": "model"},
    "data": {"path": "data.jsonl", "text_columns": ["text"]},
}


class Models:
    """A model that is loaded, and whose tokenizer needs no trial."""

    trying = None
    fingerprint = earlier_fingerprint = "model"

    def has(self, _spec: object) -> bool:
        return True

    def get(self, _spec: object) -> Models:
        return self

    def tokenizer_json(self, _spec: object) -> None:
        return None


def attempt(
    blocks: int, size: int = 8, ready: Callable[[], None] = lambda: None
) -> tuple[Attempt, ShardInput]:
    """An attempt at a shard of so many blocks, and its input."""
    held = Claim(job_id=1, shard_no=0, fence=1, lo=0, hi=blocks * size, block=size)
    made = Attempt(
        held,
        cast(ModelCache, Models()),
        progress=lambda _: None,
        lease_end=lambda: held.hi,
        enter=lambda _: None,
        ready=ready,
    )
    count = held.hi
    texts = [(f"text {number}", None) for number in range(count)]
    return made, ShardInput(spec=json.dumps(SPEC), lo=0, texts=texts, gold=[None] * count)


def use(
    patch: pytest.MonkeyPatch,
    compute: Callable[[Block[Any]], Any],
    prepare: Callable[[int], Any] = lambda lo: lo,
) -> None:
    """Compute and prepare blocks in this way."""
    patch.setitem(COMPUTE, "attribution", compute)
    patch.setitem(PREPARE, "attribution", lambda _spec, _loaded, shard: prepare(shard.lo))


def test_the_next_block_is_prepared_while_one_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = {lo: threading.Event() for lo in (0, 8, 16)}

    def prepare(lo: int) -> str:
        prepared[lo].set()
        return f"block {lo}"

    def compute(block: Block[Any]) -> Any:
        lo = block.shard.lo
        assert block.prepared() == f"block {lo}"
        assert lo == 16 or prepared[lo + 8].wait(SOON)
        assert lo >= 8 or not prepared[16].is_set(), "one block ahead, so that memory is bounded"
        return result_of(lo, lo + 8)

    use(monkeypatch, compute, prepare)
    made, shard = attempt(3)
    made.compute(shard)
    assert [len(part.examples) for part in made.parts] == [8, 8, 8]


def test_the_second_block_is_prepared_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is computed meanwhile, so the device waits for the first one."""
    begun: list[int] = []
    compared: list[list[int]] = []

    def prepare(lo: int) -> None:
        begun.append(lo)
        if lo == 0:
            time.sleep(0.05)  # another thread would begin now
            compared.append([*begun])

    def compute(block: Block[Any]) -> Any:
        block.prepared()
        return result_of(block.shard.lo, block.shard.lo + 8)

    use(monkeypatch, compute, prepare)
    made, shard = attempt(2)
    made.compute(shard)
    assert compared == [[0]]
    assert begun == [0, 8]


def test_it_says_when_the_first_block_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """The results of the last shard are stored from then on, not while the device waits."""
    order: list[str] = []

    def compute(block: Block[Any]) -> Any:
        order.append(f"computes {block.shard.lo}")
        return result_of(block.shard.lo, block.shard.lo + 8)

    use(monkeypatch, compute, lambda lo: order.append(f"prepared {lo}"))
    made, shard = attempt(1, ready=lambda: order.append("ready"))
    made.compute(shard)
    assert order == ["prepared 0", "ready", "computes 0"]


def test_a_block_becomes_a_result_while_the_next_is_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    converted = {lo: threading.Event() for lo in (0, 8)}

    def compute(block: Block[Any]) -> Any:
        lo = block.shard.lo
        assert lo == 0 or converted[lo - 8].wait(SOON)

        def convert() -> Any:
            converted[lo].set()
            return result_of(lo, lo + 8)

        return convert

    use(monkeypatch, compute)
    made, shard = attempt(2)
    made.compute(shard)
    assert [len(part.examples) for part in made.parts] == [8, 8]


@pytest.mark.parametrize("where", ["prepare", "compute", "convert"])
def test_an_error_is_that_of_its_block(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Wherever it is raised; the blocks before it are kept."""

    def fail(step: str, lo: int) -> None:
        if step == where and lo == 8:
            raise IndexError("index out of range in self")

    def prepare(lo: int) -> None:
        fail("prepare", lo)

    def compute(block: Block[Any]) -> Any:
        lo = block.shard.lo
        block.prepared()
        fail("compute", lo)

        def convert() -> Any:
            fail("convert", lo)
            return result_of(lo, lo + 8)

        return convert

    use(monkeypatch, compute, prepare)
    made, shard = attempt(3)
    with pytest.raises(BlockError) as raised:
        made.compute(shard)
    assert isinstance(raised.value.__cause__, IndexError)
    assert [len(part.examples) for part in made.parts] == [8]


def test_a_stop_waits_for_no_text_that_is_being_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    class Trial:
        def failure(self, count: int) -> TextError | None:
            assert count == 8 or go.wait(SOON)
            return None

    def compute(_block: Block[Any]) -> Any:
        raise Stopped(None)  # type: ignore[arg-type]

    prepared: list[int] = []
    use(monkeypatch, compute, prepared.append)
    made, shard = attempt(2)
    monkeypatch.setattr(made, "_tokenizer_trial", lambda *_: Trial())
    with pytest.raises(Stopped):
        made.compute(shard)
    assert made.parts == []
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("host work")]
    go.set()
    for thread in threads:
        thread.join(SOON)
    assert 8 not in prepared, "the tokenizer is the next attempt's by then"


def test_a_text_that_fails_is_not_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    class Trial:
        def failure(self, count: int) -> TextError | None:
            return TextError(9, "it ends the process") if count > 9 else None

    prepared: list[int] = []
    use(monkeypatch, lambda block: result_of(block.shard.lo, block.shard.lo + 8), prepared.append)
    made, shard = attempt(3)
    monkeypatch.setattr(made, "_tokenizer_trial", lambda *_: Trial())
    with pytest.raises(BlockError) as raised:
        made.compute(shard)
    assert isinstance(raised.value.__cause__, TextError)
    assert len(made.parts) == 1
    assert 8 not in prepared


def test_what_computes_no_function_is_a_result() -> None:
    result = result_of(0, 8)
    assert host_work.converted(result) is result
    assert host_work.converted(lambda: result) is result
