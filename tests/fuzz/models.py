"""Model folders with random changes, through submission's look at them and through loading.

A folder is accepted or refused in words. Anything else is broken: another exception, a hang, or
more memory than so small a model may take.
"""

from __future__ import annotations

import json
import math
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import headwise
from headwise.errors import HeadwiseError
from jobs.errors import InputError
from jobs.inputs.models.configuration import model_facts
from jobs.settings import Settings, load_settings
from jobs.specs.base import ModelSpec
from tests.fuzz.memory import peak_mb
from tests.fuzz.report import Report
from tests.helpers.tiny import bert_folder

HANG_SECONDS = 90.0
"""A tokenizer alone may take 30 s to be given up."""
MEMORY_MB = 2048
"""Of a process with torch."""
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 2**31, 2**63, 10**30, -(10**9), 0.5, float("inf")),
    *("", "x", "0", "bert", "\x00", "é" * 1000, [], [1], [[]], {}, {"0": "a"}, {"a": {"b": 1}}),
)
"""Values that a place in a JSON file may be set to."""


class Folder:
    """A model folder that is changed at random, again and again."""

    def __init__(self, base: Path, path: Path, seed: int) -> None:
        self.base, self.path = base, path
        self.random = random.Random(seed)

    def change(self) -> str:
        """Start from the good folder and change some of it; says what was changed."""
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.copytree(self.base, self.path)
        ways: tuple[Callable[[], str], ...] = (
            *(lambda: self._json("config.json"),) * 4,
            *(lambda: self._json("tokenizer.json"),) * 2,
            lambda: self._json("tokenizer_config.json"),
            self._header,
            self._bytes,
        )
        return "; ".join(self.random.choice(ways)() for _ in range(self.random.choice((1, 1, 2))))

    def _json(self, name: str) -> str:
        path = self.path / name
        try:
            content = json.loads(path.read_text())
        except ValueError:  # changed before
            return f"{name} again"
        said = self._set(content)
        path.write_text(json.dumps(content))
        return f"{name}: {said}"

    def _set(self, content: Any) -> str:
        """Set, remove or add a value somewhere."""
        place, trail = content, ""
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                return f"nothing at {trail}"
            key = self.random.choice(keys)
            trail += f"/{key}"
            if not isinstance(place[key], dict | list) or self.random.random() < 0.3:
                break
            place = place[key]
        if self.random.random() < 0.2:
            del place[key]
            return f"no {trail}"
        place[key] = self.random.choice(VALUES)
        return f"{trail} = {place[key]!r:.40}"

    def _header(self) -> str:
        """Change the header of the weights."""
        path = self.path / "model.safetensors"
        raw = path.read_bytes()
        size = int.from_bytes(raw[:8], "little")
        try:
            content = json.loads(raw[8 : 8 + size])
        except ValueError:
            return "weights again"
        said = self._set(content)
        header = json.dumps(content).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header + raw[8 + size :])
        return f"header: {said}"

    def _bytes(self) -> str:
        """Flip, cut or add bytes of any file."""
        path = self.random.choice(sorted(self.path.iterdir()))
        raw = bytearray(path.read_bytes())
        at = self.random.randrange(max(1, len(raw)))
        how = self.random.choice(("flip", "cut", "add"))
        if how == "flip" and raw:
            raw[at] ^= 1 << self.random.randrange(8)
        elif how == "cut":
            del raw[at:]
        else:
            raw[at:at] = self.random.randbytes(20)
        path.write_bytes(raw)
        return f"{path.name}: {how} at {at}"


def run(seed: int, seconds: float, most: float = math.inf) -> Report:
    """Fuzz for some seconds, with so many folders at most."""
    report = Report(part="models", most=most)
    with tempfile.TemporaryDirectory(prefix="headwise-fuzz-") as home:
        fuzz(report, Path(home), seed, seconds)
    return report


def fuzz(report: Report, home: Path, seed: int, seconds: float) -> None:
    """Fuzz in this folder."""
    settings = load_settings({}, home=home)
    folder = Folder(bert_folder(home / "base"), home / "model", seed)
    until = time.monotonic() + seconds
    while report.goes_on(until):
        said = folder.change()
        report.inputs += 1
        began = time.monotonic()
        _one(report, settings, folder.path, said)
        if (taken := time.monotonic() - began) > HANG_SECONDS:
            report.broken.append(f"hang of {taken:.0f} s: {said}")
        peak = peak_mb()
        report.peak("process", peak)
        if peak > MEMORY_MB:
            report.broken.append(f"memory {peak} MB: {said}")
            return


def _one(report: Report, settings: Settings, folder: Path, said: str) -> None:
    steps: dict[str, Callable[[], object]] = {
        "submission": lambda: model_facts(ModelSpec(name=str(folder)), settings),
        "loading": lambda: headwise.load(folder, device="cpu"),
    }
    for step, call in steps.items():
        try:
            call()
        except (InputError, HeadwiseError) as error:
            report.outcomes[f"{step} refuses"] += 1
            if "\n" in str(error):
                report.broken.append(f"{step}: a message of several lines: {said}")
        except BaseException as error:  # noqa: BLE001 - that is what is looked for
            report.outcomes[f"{step} raises"] += 1
            report.broken.append(f"{step}: {type(error).__name__}: {error!s:.200}: {said}")
        else:
            report.outcomes[f"{step} accepts"] += 1
