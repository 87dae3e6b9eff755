"""A job on a server: its state, waiting for it, and its results."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from headwise.client.connection import Connection
from headwise.client.errors import JobFailedError
from headwise.client.figures import drawn, listed
from headwise.client.tables import read_arrow
from headwise.figures import Figure
from headwise.figures.sentence import KINDS

if TYPE_CHECKING:
    import pandas as pd

_FIRST_WAIT, _LONGEST_WAIT = 0.25, 3.0


class Job:
    """A job as the server last described it; `refresh` asks again.

    Results are data frames with the columns of the published views (docs/reference/schema.md).
    """

    def __init__(self, connection: Connection, facts: dict[str, Any]) -> None:
        self._connection = connection
        self._etag = ""
        self.facts = facts
        """Everything that the API says of the job."""

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.status}: {self.facts['title']}>"

    @property
    def id(self) -> int:
        """Its number."""
        return int(self.facts["id"])

    @property
    def state(self) -> str:
        """queued, planning, running, paused, ..., succeeded, failed or cancelled."""
        return str(self.facts["state"])

    @property
    def status(self) -> str:
        """Its present status: `waiting (7th in queue)`, `executing on gpu-3`, `succeeded`."""
        return str(self.facts["status"])

    @property
    def final(self) -> bool:
        """True once it has ended."""
        return bool(self.facts["final"])

    @property
    def address(self) -> str:
        """Address of its page on the dashboard."""
        return f"{self._connection.address}/jobs/{self.id}"

    def refresh(self) -> Job:
        """Ask the server for its state; returns the job itself."""
        headers = {"If-None-Match": self._etag} if self._etag else {}
        answer = self._connection.send("GET", self._path(), headers=headers)
        if answer.status_code != 304:
            self.facts, self._etag = (
                self._connection.decoded(answer),
                answer.headers.get("ETag", ""),
            )
        return self

    def wait(self, timeout: float | None = None, *, progress: bool = True) -> Job:
        """Wait until the job has succeeded; Ctrl-C leaves it running.

        timeout: seconds to wait at most
        progress: show a bar, in a notebook or terminal

        Raises JobFailedError if it fails or is cancelled, TimeoutError after `timeout`.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_WAIT
        with _Bar(self, shown=progress) as bar:
            while not self.refresh().final:
                bar.update()
                if deadline is not None and time.monotonic() + pause > deadline:
                    raise TimeoutError(f"job {self.id} is {self.status} after {timeout:g} s")
                time.sleep(pause)
                pause = min(1.3 * pause, _LONGEST_WAIT)
            bar.update()
        if self.state != "succeeded":
            reason = self.facts["error"] or "no reason was given"
            message = f"job {self.id} {self.state}: {reason}"
            raise JobFailedError(message, self.id, self.state)
        return self

    def pause(self) -> Job:
        """Pause it; what is computed stays."""
        return self._control("pause")

    def resume(self) -> Job:
        """Resume it."""
        return self._control("resume")

    def cancel(self) -> Job:
        """Cancel it; finished results stay."""
        return self._control("cancel")

    def delete(self) -> None:
        """Delete it and its results; it must have ended."""
        self._connection.send("DELETE", self._path())

    def why(self) -> str | None:
        """The reason it waits, in a sentence; None if it does not."""
        found = self._connection.json("GET", f"{self._path()}/why")
        message: str | None = found["message"]
        return message

    def log(self) -> Iterator[str]:
        """Its log, line by line."""
        for line in self._connection.rows(f"{self._path()}/log", "lines", {"limit": 500}):
            yield line["message"]

    def heads(self) -> pd.DataFrame:
        """Every head with its importance, rank and interval, by rank."""
        return self.table("head_importance").sort_values("rank", ignore_index=True)

    def scores(self) -> pd.DataFrame:
        """The score of every head for every example."""
        return self.table("head_scores")

    def examples(self) -> pd.DataFrame:
        """Every example: texts, labels, prediction and probabilities."""
        return self.table("examples")

    def rankings(self) -> pd.DataFrame:
        """Every head's place in the ranking by each source that the job offers."""
        return self._frame("rankings")

    def triggers(self) -> pd.DataFrame:
        """The triggers of an attack job, each with its results."""
        return self._frame("triggers")

    def edges(self) -> pd.DataFrame:
        """The strongest pairs of tokens of every example."""
        return self.table("token_edges")

    def figures(self, example: int | None = None) -> pd.DataFrame:
        """The figures that the job, or an example of it, has, and what can be chosen of each."""
        return listed(self._connection.json("GET", self._figures(example))["figures"])

    def figure(self, kind: str, **choices: Any) -> Figure:
        """A figure of the job, which a notebook displays and `save` writes to a file.

        kind: one of `figures`, such as "heads" or "curve"; with the number of an `example`, also
            its "words", "arcs" or "tree"
        choices: such as `measure="mean_total"`; by default the first of each

        Raises NotFoundError for an unknown figure and without results, RefusedError for a choice
        that it does not have.
        """
        example = choices.pop("example", None) if kind in KINDS else None
        return drawn(self._connection, f"{self._figures(example)}/{kind}", choices)

    def _figures(self, example: int | None) -> str:
        place = "" if example is None else f"/examples/{example}"
        return f"{self._path()}{place}/figures"

    def matrix(
        self,
        example: int,
        layer: int,
        head: int,
        *,
        attention_type: str | None = None,
        timeout: float | None = None,
    ) -> Figure:
        """A head's whole attention beside its attribution, as a figure whose rows are the cells.

        Where they are not stored yet, a quick job computes them, ahead of all other work.

        attention_type: encoder, decoder or cross; by default encoder where the model has it
        timeout: seconds to wait for that job at most

        Raises NotFoundError without the example or the head, RefusedError for a text without
        matrices, JobFailedError if the quick job fails, TimeoutError after `timeout`.
        """
        path = f"{self._path()}/examples/{example}/heads/{layer}/{head}/matrix"
        query = {"attention_type": attention_type}
        found = self._connection.json("GET", path, query=query)
        if found["state"] in ("absent", "failed"):
            # Viewers may not start it, but they may read what is stored.
            found = self._connection.json("POST", path, query=query)
        if found["state"] == "computing":
            quick = Job(self._connection, self._connection.json("GET", f"/jobs/{found['job']}"))
            quick.wait(timeout, progress=False)
            found = self._connection.json("GET", path, query=query)
        if found["state"] != "stored":
            message = found["message"] or "The matrix was deleted while it was being computed."
            raise JobFailedError(message, found["job"] or self.id, found["state"])
        return self.figure("matrix", example=example, head=found["head"])

    def matrices(self) -> pd.DataFrame:
        """The examples and heads whose whole matrices are stored; `matrix` computes others."""
        return self._frame("matrices")

    def table(self, view: str) -> pd.DataFrame:
        """All rows of a published view that belong to the job."""
        with self._connection.stream(f"{self._path()}/tables/{view}.arrow") as pieces:
            return read_arrow(pieces)

    def _frame(self, name: str) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame(self._connection.rows(f"{self._path()}/{name}", name, {"limit": 500}))

    def _path(self) -> str:
        return f"/jobs/{self.id}"

    def _control(self, action: str) -> Job:
        self._connection.send("POST", f"{self._path()}/{action}")
        return self.refresh()


class _Bar:
    """A progress bar over a job's examples, made once their number is known."""

    def __init__(self, job: Job, *, shown: bool) -> None:
        self._job = job
        self._shown = shown
        self._bar: Any = None

    def __enter__(self) -> _Bar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self) -> None:
        """Show what the job's facts say."""
        if not self._shown:
            return
        if self._bar is None:
            from tqdm.auto import tqdm

            # What was computed before is no part of its rate.
            done = self._job.facts["examples_computed"]
            self._bar = tqdm(total=self._job.facts["examples"] or None, initial=done, unit="ex")
        self._bar.total = self._job.facts["examples"] or None
        self._bar.set_description(f"job {self._job.id} {self._job.status}")
        self._bar.n = self._job.facts["examples_computed"]
        self._bar.refresh()
