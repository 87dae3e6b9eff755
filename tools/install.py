"""Install packages with pip, behind a bar: `python tools/install.py PYTHON [ARGUMENTS-OF-PIP]`.

Runs before anything is installed, so it uses the standard library alone. Where the output is no
terminal, a line every ten seconds takes the place of the bar. What pip says is shown if it fails.
Without arguments of pip it makes the environment of PYTHON.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

WIDTH = 30
LINES = 30
"""The number of pip's last lines that a failure shows."""
PIP = ("-m", "pip", "install", "--disable-pip-version-check")


_PACKAGE = re.compile(
    r"(?:Collecting |Requirement already satisfied: )([\w.-]+)|Processing \S*/([\w.]+)-\S+\.whl"
)


class Bar:
    """A bar in the last line of a terminal, or a line now and then."""

    def __init__(self, total: int, what: str = "looking for packages") -> None:
        self.total, self.done, self.what = total, 0, what
        self._began = time.monotonic()
        self._terminal = sys.stdout.isatty()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._draw, daemon=True)

    def __enter__(self) -> Bar:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def line(self) -> str:
        """Return the bar with numbers and seconds."""
        filled = WIDTH * min(self.done, self.total) // max(self.total, 1)
        seconds = time.monotonic() - self._began
        bar = "#" * filled + "." * (WIDTH - filled)
        return f"Installing [{bar}] {self.done}/{self.total} {seconds:3.0f} s  {self.what}"

    def _draw(self) -> None:
        while True:
            start, end = ("\r", "\033[K") if self._terminal else ("", "\n")
            sys.stdout.write(f"{start}{self.line()[:100]}{end}")
            sys.stdout.flush()
            if self._ended.wait(0.2 if self._terminal else 10):
                break
        if self._terminal:
            sys.stdout.write(f"\r{self.line()[:100]}\033[K\n")
            sys.stdout.flush()


def follow(lines: Iterable[str], bar: Bar) -> list[str]:
    """Move a bar along what pip says; returns all of it."""
    said = []
    for line in lines:
        said.append(line)
        if found := _PACKAGE.match(line):
            bar.done = min(bar.done + 1, bar.total)
            bar.what = found[1] or found[2]
        elif line.startswith("Installing"):
            bar.what = "unpacking"
    bar.done = bar.total
    bar.what = "done"
    return said


def expected(words: Sequence[str]) -> int:
    """Return about how many packages pip will name, by the lists of docs/reference/licences.md."""
    page = (Path(__file__).parents[1] / "docs/reference/licences.md").read_text(encoding="utf-8")
    runs, _, development = page.partition("## For development")
    return f"{runs}{development if '--group' in words else ''}".count("\n| ") or 1


def make_environment(python: Path) -> int:
    """Make the environment of a python, with a new pip; returns the status of what failed, or 0."""
    steps = {
        "environment": [sys.executable, "-m", "venv", str(python.parents[1])],
        "pip": [str(python), *PIP, "--upgrade", "pip"],
    }
    with Bar(len(steps), next(iter(steps))) as bar:
        for bar.what, command in steps.items():
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                break
            bar.done += 1
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
    return done.returncode


def install(python: str, words: Sequence[str]) -> int:
    """Run pip with the given words; returns its status."""
    command = [python, *PIP, "--progress-bar", "off", *words]
    with (
        Bar(expected(words)) as bar,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as pip,
    ):
        assert pip.stdout is not None
        said = follow(pip.stdout, bar)
    if pip.returncode:
        sys.stderr.write("".join(said[-LINES:]))
    return pip.returncode


if __name__ == "__main__":
    python, *words = sys.argv[1:]
    sys.exit(install(python, words) if words else make_environment(Path(python)))
