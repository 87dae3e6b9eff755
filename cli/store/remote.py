"""The store that is a server: every method is a request to its API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from cli.store.base import Facts, Head, Raw, Rows, Store
from headwise.client.connection import RETRY_SECONDS, Connection
from headwise.client.errors import ServerError
from headwise.client.tables import Pieces
from jobs.errors import HeadwiseError, InputError, Problem, SignInError, refuse

TIMEOUT_SECONDS = 120.0
"""Longest wait for an answer: checking a submission may read a large file."""
PAGE = 500
API = "/api/v1"


class RemoteStore(Store):
    """A server's jobs and results; use it within `translated`.

    A request that it does not answer is an error at once; after the first answer the server may
    be restarting, so that reading goes on for a minute.
    """

    user: str | None = None
    poll_seconds = 1.0

    def __init__(self, address: str, token: str | None) -> None:
        self.address: str | None = address
        self.dashboard = address
        self._signed_in = bool(token)
        self._connection = Connection(address, token, TIMEOUT_SECONDS)
        self._reached = False
        self._followed: dict[int, tuple[str, Facts]] = {}

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    def account(self) -> Facts:
        """The person and the rights of the token."""
        return self._get("/account")

    def data_file(self, field: str, path: str) -> str:
        """Upload a file of this machine; any other absolute path is one of the server."""
        here = Path(path).expanduser()
        if here.is_file():
            with here.open("rb") as file:
                return str(
                    self._send("POST", "/uploads", files={"file": (here.name, file)})["path"]
                )
        if not path.startswith("/"):
            remedy = f"A file of {self.address} is given by its whole path, from /."
            raise refuse(field, path, "no such file here", remedy)
        return path

    def model_name(self, name: str) -> str:
        """A folder of the server, or a name on the hub."""
        if name.startswith(("./", "../", "~")):
            message = f"is a folder of this machine, and {self.address} reads models of its own"
            remedy = "Give the whole path of a folder there, from /, or a name on the hub."
            raise refuse("--model", name, message, remedy)
        return name

    def presets(self) -> Facts:
        """Submissions to start from, by title."""
        return dict(self._get("/presets")["presets"])

    def check(self, raw: Raw) -> Facts:
        """Check a submission; nothing is written."""
        return self._send("POST", "/check", body=raw)

    def submit(self, raw: Raw) -> Facts:
        """Submit a job."""
        return self._send("POST", "/jobs", body=raw)

    def jobs(self, state: str, limit: int) -> list[Facts]:
        """The newest jobs."""
        query = {"state": state or None, "limit": min(limit, PAGE)}
        found: list[Facts] = []
        for page in self._pages("/jobs", query):
            found += page["jobs"]
            if len(found) >= limit:
                break
        return found[:limit]

    def job(self, number: int) -> Facts:
        """A job; the server answers briefly as long as it looks the same."""
        tag, known = self._followed.get(number, ("", {}))
        headers = {"If-None-Match": tag} if tag else {}
        answer = self._answered("GET", f"/jobs/{number}", headers=headers)
        if answer.status_code != HTTPStatus.NOT_MODIFIED:
            known = self._decoded(answer)
            self._followed[number] = (answer.headers.get("ETag", ""), known)
        return known

    def why(self, number: int) -> Facts:
        """The reason why a job waits."""
        return self._get(f"/jobs/{number}/why")

    def control(self, number: int, action: str) -> Facts:
        """Pause, resume or cancel a job."""
        return self._send("POST", f"/jobs/{number}/{action}")

    def change(self, number: int, changes: Raw) -> Facts:
        """Change a job's priority, or how long it is kept."""
        return self._send("PATCH", f"/jobs/{number}", body=changes)

    def delete(self, number: int) -> None:
        """Delete a job that has ended."""
        self._send("DELETE", f"/jobs/{number}")

    def log(self, number: int, level: str, shard: int | None) -> Iterator[Facts]:
        """All lines of a log."""
        query = {"level": level or None, "shard": shard, "limit": PAGE, "newest": True}
        for page in self._pages(f"/jobs/{number}/log", query):
            yield from page["lines"]

    def log_after(
        self, number: int, level: str, shard: int | None, place: str
    ) -> tuple[list[Facts], str]:
        """Settled lines after a place, and the place to go on from."""
        query = {"level": level or None, "shard": shard, "limit": PAGE}
        page = self._get(place) if place else self._get(f"/jobs/{number}/log", query)
        return page["lines"], (page["follow"] or "").removeprefix(API)

    def check_study(self, raw: Raw) -> Facts:
        """Check a study; nothing is written."""
        return self._send("POST", "/studies/check", body=raw)

    def submit_study(self, raw: Raw) -> Facts:
        """Submit a study."""
        return self._send("POST", "/studies", body=raw)

    def study(self, number: int) -> Facts:
        """A study, its jobs, and what they found."""
        return self._get(f"/studies/{number}")

    def recurring(self) -> list[Facts]:
        """Recurring jobs with their last runs."""
        return self._rows("/recurring", "recurring")

    def add_recurring(self, raw: Raw) -> Facts:
        """Check and store a recurring job."""
        return self._send("POST", "/recurring", body=raw)

    def control_recurring(self, number: int, action: str) -> None:
        """Pause, resume or remove a recurring job."""
        if action == "remove":
            self._send("DELETE", f"/recurring/{number}")
        else:
            self._send("POST", f"/recurring/{number}/{action}")

    def recipients(self) -> list[Facts]:
        """Recipients of notifications."""
        return self._rows("/recipients", "recipients")

    def add_recipient(self, raw: Raw, user: str) -> Facts:
        """Add a recipient of one's own, and send it a test."""
        return self._send("POST", "/recipients", body=raw)

    def test_recipient(self, number: int) -> None:
        """Send a recipient a test."""
        self._send("POST", f"/recipients/{number}/test")

    def remove_recipient(self, number: int) -> None:
        """Remove a recipient, and what it waits for."""
        self._send("DELETE", f"/recipients/{number}")

    def notifications(self) -> list[Facts]:
        """The last notifications and what became of them."""
        return list(self._get("/notifications")["notifications"])

    def sql(self, query: str) -> Facts:
        """The first rows of a query."""
        return self._send("POST", "/sql", body={"query": query})

    def sql_plan(self, query: str) -> str:
        """The database's plan for a query, which is not run."""
        return str(self._send("POST", "/sql/plan", body={"query": query})["plan"])

    def sql_file(self, query: str, form: str) -> Iterator[bytes]:
        """All rows of a query as a file: csv, json or parquet."""
        with self._connection.stream(
            f"/sql.{form}", method="POST", body={"query": query}
        ) as pieces:
            yield from pieces

    def table(self, number: int, view: str) -> Iterator[Rows]:
        """A job's rows of a published view."""
        import pyarrow as pa  # slow to import

        with self._connection.stream(f"/jobs/{number}/tables/{view}.arrow") as pieces:
            try:
                for batch in pa.ipc.open_stream(Pieces(pieces)):
                    yield list(zip(*(one.to_pylist() for one in batch.columns), strict=True))
            except (pa.ArrowInvalid, OSError) as error:
                message = f"{self.address} broke off in the middle: {error}. Try again."
                raise HeadwiseError(message) from None

    def figures(self, number: int, example: int | None) -> list[Facts]:
        """The figures of a job or of one example, with their choices."""
        return list(self._get(_figures(number, example))["figures"])

    def figure(
        self,
        number: int,
        kind: str,
        form: str,
        choices: Mapping[str, str],
        example: int | None,
    ) -> bytes:
        """A figure as a file; the server draws it."""
        query = {**choices, "format": form}
        answer = self._answered("GET", f"{_figures(number, example)}/{kind}", query=query)
        return bytes(answer.content)

    def matrices(self, number: int) -> list[Facts]:
        """The heads and examples whose whole matrices are stored."""
        return self._rows(f"/jobs/{number}/matrices", "matrices")

    def matrix(self, number: int, example: int, head: Head) -> Facts:
        """A head's matrices on an example, as far as they are known."""
        path, query = _matrix(number, example, head)
        return self._get(path, query)

    def compute_matrix(self, number: int, example: int, head: Head) -> Facts:
        """Let a quick job compute a head's matrices, unless they are stored or on their way."""
        path, query = _matrix(number, example, head)
        return self._send("POST", path, query=query)

    def compare(self, numbers: Sequence[int], *, studies: bool) -> Facts:
        """Jobs, or two studies, side by side."""
        path, query = _compared(numbers, studies)
        return self._get(path, query)

    def compared_figure(
        self,
        numbers: Sequence[int],
        kind: str,
        form: str,
        choices: Mapping[str, str],
        *,
        studies: bool,
    ) -> bytes:
        """A figure of several jobs, or two studies, as a file; the server draws it."""
        path, named = _compared(numbers, studies)
        query = {**choices, **named, "format": form}
        return bytes(self._answered("GET", f"{path}/figures/{kind}", query=query).content)

    def report(self, study: int, form: str) -> bytes:
        """The report of a study as a file; the server makes it."""
        return bytes(self._answered("GET", f"/studies/{study}/report.{form}").content)

    def tried(self, number: int) -> Facts:
        """The effect of words on a text; nothing before it is computed."""
        return self._get(f"/jobs/{number}/tried")

    def pruning(self, number: int) -> Facts:
        """The points of a pruning job, and its choice."""
        return self._get(f"/jobs/{number}/pruning")

    def removed(self, number: int, mask: int) -> list[list[int]]:
        """The heads that a mask removes, as [site, head]."""
        return list(self._get(f"/jobs/{number}/pruning/masks/{mask}")["removed"])

    def _pages(self, path: str, query: Mapping[str, Any]) -> Iterator[Facts]:
        page = self._get(path, query)
        yield page
        while page["next"]:
            page = self._get(page["next"].removeprefix(API))
            yield page

    def _rows(self, path: str, name: str) -> list[Facts]:
        """All rows of a list, `name` in its answers."""
        return [row for page in self._pages(path, {"limit": PAGE}) for row in page[name]]

    def _get(self, path: str, query: Mapping[str, Any] | None = None) -> Facts:
        return self._decoded(self._answered("GET", path, query=query))

    def _send(self, method: str, path: str, **given: Any) -> Facts:
        return self._decoded(self._answered(method, path, **given))

    def _decoded(self, answer: Any) -> Facts:
        found: Facts = self._connection.decoded(answer)
        return found

    def _answered(self, method: str, path: str, **given: Any) -> Any:
        patient = self._reached and method == "GET"
        self._connection.retry_seconds = RETRY_SECONDS if patient else 0.0
        answer = self._connection.send(method, path, **given)
        self._reached = True
        return answer

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise the client's errors as ours, as the same mistake on this machine would be told."""
        try:
            yield
        except ServerError as error:
            raise self._error(error) from None

    def _error(self, error: ServerError) -> HeadwiseError:
        found = [Problem(**vars(problem)) for problem in error.problems]
        if error.status == HTTPStatus.UNAUTHORIZED:
            said = "the token is unknown, revoked or expired"
            said = said if self._signed_in else "you are not signed in"
            return SignInError(
                f"{self.address}: {said}. Make a token on your account's page there, and "
                f"`headwise login {self.address}`."
            )
        if not found or found[0].field not in ("request", "server"):
            return InputError(found) if found else HeadwiseError(str(error))
        return HeadwiseError(" ".join(f"{one.message} {one.remedy}".strip() for one in found))


def _compared(numbers: Sequence[int], studies: bool) -> tuple[str, dict[str, str]]:
    """The address of a comparison of jobs, or of two studies, and its query."""
    if not studies:
        return "/compare", {"jobs": ",".join(map(str, numbers))}
    return "/studies/compare", dict(zip("ab", map(str, numbers), strict=True))


def _matrix(number: int, example: int, head: Head) -> tuple[str, dict[str, str]]:
    """The address of a head's matrices on an example, and its query."""
    layer, index, attention_type = head
    path = f"/jobs/{number}/examples/{example}/heads/{layer}/{index}/matrix"
    return path, {"attention_type": attention_type}


def _figures(number: int, example: int | None) -> str:
    """The path of the figures of a job, or of one example."""
    return (
        f"/jobs/{number}/figures"
        if example is None
        else f"/jobs/{number}/examples/{example}/figures"
    )
