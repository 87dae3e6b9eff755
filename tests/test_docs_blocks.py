"""Every block of code in the documentation runs, or says why it does not.

Blocks of shell run one after the other in a data folder that all pages share, beside a dashboard, a
scheduler and a worker, on the bundled model. A comment before a block says why it is not run:
`<!-- not run: needs a cluster -->`. Its commands of headwise are held to the command line anyway.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
import yaml
from transformers import BertConfig, BertForSequenceClassification
from typer.core import TyperGroup

import headwise
from cli.main import app
from demo.model import build
from tests.helpers.environment import missing
from tests.helpers.stack import Stack
from tests.helpers.warm import Command

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
FENCE = re.compile(
    r"^(?: *<!-- not run: (?P<why>[^>]+) -->\n+)? *```(?P<language>\w*)\n(?P<text>.*?)^ *```$",
    flags=re.DOTALL | re.MULTILINE,
)
SECONDS = 250
"""A block that takes longer hangs; a busy machine takes a multiple of a quiet one's time."""
NEIGHBOUR = "the library's page runs from top to bottom in tests/headwise"


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of code on a page; `why` it is not run, if it is not."""

    page: str
    number: int
    language: str
    text: str
    why: str | None


def blocks_of(path: Path) -> Iterator[Block]:
    """Return the blocks of a page, in order."""
    page = str(path.relative_to(ROOT))
    for number, found in enumerate(FENCE.finditer(path.read_text(encoding="utf-8")), start=1):
        why = found["why"] or (NEIGHBOUR if page.endswith("library.md") else None)
        yield Block(
            page=page, number=number, language=found["language"], text=found["text"], why=why
        )


BLOCKS = [block for path in sorted(PAGES) for block in blocks_of(path)]


def of(*languages: str, run: bool) -> list[Any]:
    """Parameters: the blocks of some languages that are run, or those that are not."""
    return [
        pytest.param(block, id=f"{block.page}-{block.number}")
        for block in BLOCKS
        if block.language in languages and (block.why is None) is run
    ]


def test_every_fence_is_a_block_of_a_known_language() -> None:
    fences = sum(
        len(re.findall(r"^ *```", path.read_text(encoding="utf-8"), flags=re.MULTILINE))
        for path in PAGES
    )
    assert fences == 2 * len(BLOCKS)
    assert {block.language for block in BLOCKS} <= {"", "json", "python", "sh", "yaml"}


@pytest.mark.parametrize("block", of("json", run=True))
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", of("yaml", run=True))
def test_yaml_is_yaml(block: Block) -> None:
    assert yaml.safe_load(block.text)


# Commands that are not run: their names, options and number of arguments.

COMMAND = re.compile(
    r"(?:^|&& |-- |bin/|exec web |[A-Z_]=\S+ )headwise (?P<words>[a-z-][^#&|;\n]*)",
    flags=re.MULTILINE,
)


@pytest.mark.parametrize("block", of("sh", run=False))
def test_a_command_that_is_not_run_is_one_of_the_command_line(block: Block) -> None:
    compile_shell(block.text)
    for found in COMMAND.finditer(block.text.replace("\\\n", " ")):
        words = found["words"].rstrip()
        if words.count("'") % 2:  # the command is within quotes
            words = words.removesuffix("'")
        with_context(typer.main.get_command(app), shlex.split(words))


@pytest.mark.parametrize("block", of("sh", run=False))
def test_a_setting_is_given_to_every_command_that_needs_it(block: Block) -> None:
    """The other commands of a page read the same settings as the system that it starts."""
    alone = re.search(r"^HEADWISE_\S+=.* headwise (up|web|scheduler|worker)\b", block.text, re.M)
    assert alone is None, "export it: what is checked before a submission depends on it, too"


INLINE = re.compile(r"(?<!`)`headwise (?P<words>[a-z-][^`]*)`")


@pytest.mark.parametrize("path", sorted(PAGES), ids=lambda path: path.name)
def test_a_command_in_a_sentence_is_one_of_the_command_line(path: Path) -> None:
    """A sentence may leave out what a command needs; the changelog tells of commands that were."""
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    for found in INLINE.finditer(text if path.name != "CHANGELOG.md" else ""):
        words = shlex.split(found["words"].replace("COMMAND", "jobs").replace("…", ""))
        with contextlib.suppress(typer.BadParameter, typer.Exit):
            with_context(typer.main.get_command(app), words)


def compile_shell(text: str) -> None:
    """Fail if a block is no shell script."""
    done = subprocess.run(["bash", "-n", "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def with_context(command: Any, words: list[str], parent: typer.Context | None = None) -> None:
    """Parse words as headwise does; raises UsageError where it would refuse them."""
    context = command.make_context(command.name, list(words), parent=parent)
    if isinstance(command, TyperGroup) and (rest := [*context._protected_args, *context.args]):
        _, chosen, others = command.resolve_command(context, rest)
        assert chosen is not None
        with_context(chosen, others, context)


# Blocks that are run.


class Handler(socketserver.StreamRequestHandler):
    """Runs a command of headwise in a warm process; a line of JSON says which, and where."""

    def handle(self) -> None:
        asked = json.loads(self.rfile.readline())
        log = Path(asked["log"])
        command = Command(asked["words"], asked["environment"], log, Path(asked["folder"]))
        self.wfile.write(str(command.wait(SECONDS)).encode())


SHIM = """#!{python} -SE
import json, os, socket, sys, tempfile
handle, log = tempfile.mkstemp()
asked = socket.socket(socket.AF_UNIX)
asked.connect({socket!r})
given = dict(words=sys.argv[1:], environment=dict(os.environ), folder=os.getcwd(), log=log)
asked.sendall(json.dumps(given).encode() + b"\\n")
status = asked.recv(100)
os.write(1, open(log, "rb").read())
sys.exit(int(status or 1))
"""


def narrow(folder: Path) -> Path:
    """Give a model random weights of an eighth of its width: its commands are tried, not it."""
    config = BertConfig.from_pretrained(folder, hidden_size=48, initializer_range=0.2)
    torch.manual_seed(0)
    BertForSequenceClassification(config).eval().save_pretrained(folder)
    return folder


class Place:
    """A home with models and texts, where commands of headwise find a running system."""

    def __init__(self, home: Path) -> None:
        self.home, self.work = home, home / "work"
        self.work.mkdir()
        model = narrow(build(home / "models/demo"))
        for name in ("my-classifier", "my-nli", "nli", "other"):
            (home / "models" / name).symlink_to(model)
        lines = (ROOT / "demo/pairs.jsonl").read_text(encoding="utf-8").splitlines()[:24]
        for name in ("texts/dev.jsonl", "data/pairs.jsonl", "work/dev.jsonl", "work/pairs.jsonl"):
            path = home / name
            path.parent.mkdir(exist_ok=True)
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        (home / "data/models").symlink_to(home / "models")
        (home / "work/my-nli").symlink_to(model)
        table = [
            "premise,hypothesis,label",
            "It is so.,Is it so?,neutral",
            "It is.,It is not.,neutral",
        ]
        (home / "work/pairs.csv").write_text("\n".join(table) + "\n", encoding="utf-8")
        spec = {
            "model": {"name": str(model)},
            "data": {"path": str(home / "texts/dev.jsonl"), "text_columns": ["premise"]},
        }
        (home / "work/spec.json").write_text(json.dumps(spec), encoding="utf-8")
        submission = json.dumps({"name": "demo", "spec": spec})
        (home / "work/submission.json").write_text(submission, encoding="utf-8")
        self.stack = Stack(home / "run", allowed_folders=home)
        for name in ("web", "scheduler", "worker"):
            self.stack.start(name)
        self._serve(home / "bin")

    def _serve(self, folder: Path) -> None:
        folder.mkdir()
        address = str(folder / "socket")
        self.server = socketserver.ThreadingUnixStreamServer(address, Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        shim = folder / "headwise"
        shim.write_text(SHIM.format(python=sys.executable, socket=address), encoding="utf-8")
        shim.chmod(0o755)

    def here(self, text: str) -> str:
        """A block's text with the paths and addresses of this place."""
        for name in ("/models/", "/texts/", "/data/"):
            text = re.sub(rf"(?<![\w~.]){name}", f"{self.home}{name}", text)
        text = text.replace("curl -s", "curl --fail-with-body -s")
        text = text.replace("~/", f"{self.home}/")
        for name in ("org/classifier", "path/or/hub-name", "some/classifier"):
            text = text.replace(name, f"{self.home}/models/demo")
        return re.sub(r"https?://(?:localhost:8600|headwise\.example\.org)", self.address, text)

    @property
    def address(self) -> str:
        """The address of the dashboard."""
        return self.stack.settings.address

    def shell(self, text: str) -> None:
        """Run a block of shell in the folder of the pages."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HEADWISE_")}
        path = f"{self.home / 'bin'}:{Path(sys.executable).parent}:{kept['PATH']}"
        environment = {**kept, **self.stack.environment, "HOME": str(self.home), "PATH": path}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.here(text)],
            cwd=self.work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{text}\nended with {done.returncode}:\n{done.stdout[-3000:]}"

    def close(self) -> None:
        """End everything."""
        self.server.shutdown()
        self.server.server_close()
        self.stack.stop()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A running system whose jobs 1 to 13 have succeeded: 12 attribution, 13 pruning by it."""
    if shutil.which("curl") is None:
        missing("curl")
    home = tmp_path_factory.mktemp("docs")
    made = Place(home)
    try:
        asked = f"--model {home}/models/demo --text premise,hypothesis --label label --rtol 0.1"
        data = f"--data {home}/texts/dev.jsonl"
        for number in range(1, 12):  # of equal ones there would be one
            made.shell(f"headwise submit {asked}{number:02} {data} --limit 1")
        made.shell(f"headwise submit {asked} {data} --limit 12 --watch")
        pruning = """--kind pruning --set 'sources=[{"job": 12, "source": "attattr"}]'"""
        asked = asked.removesuffix("--rtol 0.1")
        made.shell(
            f"headwise submit {asked} {data} {pruning} --set steps=8 --set within=50 --watch"
        )
        yield made
    finally:
        made.close()


@pytest.mark.timeout(600)  # a hundred commands, one after the other
def test_the_blocks_run(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """All in one, so that tests side by side need no second system."""
    monkeypatch.chdir(place.work)
    failures = []
    names: dict[str, dict[str, object]] = {}
    for block in BLOCKS:
        if block.why is not None or block.language not in ("sh", "python"):
            continue
        try:
            if block.language == "sh":
                place.shell(block.text)
            else:
                exec(place.here(block.text), names.setdefault(block.page, {}))
        except Exception as error:  # noqa: BLE001 - the next block is to run, too
            failures.append(f"{block.page}, block {block.number}: {error}")
    for client in (one.get("client") for one in names.values()):
        if isinstance(client, headwise.Client):
            client.close()
    assert not failures, "\n\n".join(failures)
