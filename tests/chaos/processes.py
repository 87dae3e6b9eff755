"""The processes of a stack: started again when they die, and disturbed at points of their code."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from tests.chaos.forge import Forge
from tests.helpers.stack import Stack, alive, children_of

PACE = 0.03
"""Seconds per example."""
STALL = 15
"""Seconds without progress after which a worker ends: a busy machine takes many for a model."""
ENDING = (signal.SIGKILL, signal.SIGTERM, signal.SIGQUIT, signal.SIGINT)
FOR_GOOD = "stop-for-good"
"""The fault of a process that stays stopped until the round ends."""


class Processes(Stack):
    """Schedulers and workers, kept alive while faults are done to them."""

    def __init__(self, home: Path, forge: Forge, *, database_url: str = "", **more: object) -> None:
        settings = {
            "lease_seconds": 2.5,
            "heartbeat_seconds": 0.4,
            "stall_seconds": STALL,
            "tick_seconds": 0.1,
            "log_level": "info",
            "log_format": "json",
        }
        super().__init__(home, database_url=database_url, **settings, **more)
        self.forge = forge
        self.faults = home / "faults"
        self.faults.mkdir()
        self.schedulers: list[int] = []
        self.workers: list[int] = []
        self.all: set[int] = set()
        """Every process that was started."""
        self.wanted = (2, 2)
        self.skew = 0.0
        self.faulted: set[int] = set()
        """Processes that cannot go on: stopped, or cut off."""
        self.fallen: list[str] = []
        """Processes that ended although nobody ended them."""
        self._ended: set[int] = set()
        self._started: set[int] = set()
        self._sleepers: dict[int, float] = {}

    def fork(
        self,
        command: str,
        *arguments: str,
        skew: float = 0.0,
        namespace: str = "",
        environment: dict[str, str] | None = None,
    ) -> int:
        """Start `headwise COMMAND ARGUMENTS`, in a network namespace if one is named."""
        pid = self.forge.start(
            arguments=[command, *arguments],
            environment={**self.environment, **(environment or {})},
            log=str(self.home / f"{command}.log"),
            faults=str(self.faults),
            skew=skew,
            pace=PACE,
            namespace=namespace,
        )
        self.all.add(pid)
        return pid

    def tend(self) -> None:
        """Start again what has died, and note what died by itself."""
        for command, pids, wanted in (
            ("scheduler", self.schedulers, self.wanted[0]),
            ("worker", self.workers, self.wanted[1]),
        ):
            up = alive(pids)
            self._note_points()  # after the look: what has died until then is explained
            # A worker has children once it has come up.
            self._started.update(pid for pid in {*up} - self._started if children_of(pid))
            fallen = [pid for pid in pids if pid not in {*up, *self._ended}]
            self.fallen += [f"{command} {pid} {self._how_it_ended(command, pid)}" for pid in fallen]
            pids[:] = up
            # Where faults have left none that can go on, one more: no job would end.
            missing = max(wanted - len(pids), int(wanted > 0 and not self.able(pids)))
            pids += [self.fork(command, skew=self.skew) for _ in range(missing)]

    def _how_it_ended(self, command: str, pid: int) -> str:
        # Names have the number of the process; a busy machine takes long to give them.
        named = f"-{pid}-" in (self.home / f"{command}.log").read_text(errors="replace")
        started = named or pid in self._started
        return "ended by itself" if started else "ended by itself, before it had started"

    def family(self, parent: int) -> list[int]:
        """A worker's process and its children."""
        return [parent, *children_of(parent)]

    def able(self, parents: list[int]) -> list[int]:
        """Those of the processes that can go on, with all their children."""
        return [pid for pid in parents if not self.faulted.intersection(self.family(pid))]

    def computing(self) -> list[int]:
        """The computing children of all workers."""
        return [child for pid in self.workers for child in alive(children_of(pid))]

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a process that may be gone."""
        if number in ENDING:
            self._ended.add(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def kill(self, parent: int) -> None:
        """Kill a process with its children."""
        for pid in self.family(parent):
            self.signal(pid, signal.SIGKILL)

    def stop(self) -> None:
        """Kill everything."""
        self.wanted = (0, 0)
        for pid in sorted(self.all):
            self.kill(pid)
        self.database.close()

    # Processes that stand still.

    def let_sleepers_go(self, after: float = 4.5) -> None:
        """Wake processes that a fault stopped, well after their lease; kill those that are to die
        stopped."""
        for pid, action in self._taken():
            if action in ("stop", "stop-then-kill"):
                since = self._sleepers.setdefault(pid, time.monotonic())
                if time.monotonic() - since > after:
                    self.signal(pid, signal.SIGCONT if action == "stop" else signal.SIGKILL)

    def stop_for_good(self, *pids: int) -> None:
        """Stop processes until the round ends."""
        self.faulted.update(pids)
        for pid in pids:
            self.signal(pid, signal.SIGSTOP)

    def bury(self) -> None:
        """Kill what a fault stopped for good."""
        self._note_points()
        for pid in self.faulted:
            self.signal(pid, signal.SIGKILL)
        self.faulted.clear()

    # Faults at points.

    def lay(self, point: str, action: str) -> str:
        """The first process to pass this point is to do this."""
        part = self.faults / f".{point}"
        part.write_text(action)
        part.rename(self.faults / point)
        return point

    def taken(self, point: str) -> bool:
        """True if a process has come by."""
        return any(self.faults.glob(f"{point}.taken.*"))

    def forget(self) -> list[str]:
        """Take away what was laid; returns the points that were passed."""
        passed, files = list[str](), list(self.faults.iterdir())
        self._note_points()  # after the list: nothing is taken away that was not noted
        for file in files:
            name, taken, _ = file.name.partition(".taken.")
            passed += [name] if taken else []
            file.unlink(missing_ok=True)
        self._sleepers.clear()
        return passed

    def _note_points(self) -> None:
        """Note what faults at points did to their processes."""
        for pid, action in self._taken():
            if action.startswith("kill"):
                self._ended.add(pid)
            if action == FOR_GOOD:
                self.faulted.add(pid)

    def _taken(self) -> list[tuple[int, str]]:
        """The processes that came by a fault, and what it was; one may come by several."""
        found = []
        for file in self.faults.glob("*.taken.*"):
            with contextlib.suppress(FileNotFoundError):
                found.append((int(file.suffix[1:]), file.read_text()))
        return found
