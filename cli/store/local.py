"""The store that is this machine's database.

What only one command needs is imported where it is used: that is most of the time of a short one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.audit import note
from cli.context import user
from cli.store.base import Facts, Head, Raw, Rows, Store
from db.accounts.audit import made
from db.database import Database
from db.reads import job_list
from db.reads import jobs as job_reads
from db.reads.job_list import JobFilter
from db.reads.status import status_of
from jobs.errors import refuse
from jobs.settings import Settings
from scheduler import serializers

if TYPE_CHECKING:
    from db.results.matrices import StoredAt
    from scheduler.figures.base import Figures

PAGE = 500
"""Rows of a list that are read at a time."""


class LocalStore(Store):
    """The database of this machine. What is done is in its audit log, as for a request."""

    address: str | None = None
    poll_seconds = 0.4

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.dashboard = settings.address
        self.user: str | None = user()

    @contextmanager
    def _noted(self, action: str, about: str = "", **detail: object) -> Iterator[None]:
        """Write an action to the audit log once it has succeeded, with what it has made."""
        noting = made.set([])
        try:
            yield
            objects = made.get() or []
        finally:
            made.reset(noting)
        note(self.database, action, ", ".join(objects) or about, **detail)

    def data_file(self, field: str, path: str) -> str:
        """Its absolute path: it is relative to the current folder."""
        return str(Path(path).expanduser().absolute())

    def model_name(self, name: str) -> str:
        """A folder's absolute path; a name on the hub stays."""
        is_path = name.startswith(("/", "./", "../", "~"))
        return str(Path(name).expanduser().absolute()) if is_path else name

    def presets(self) -> Facts:
        """Submissions to start from, by title."""
        from scheduler.submission.presets import presets

        return dict(presets(self.settings))

    def check(self, raw: Raw) -> Facts:
        """Check a submission; nothing is written."""
        from scheduler.submission.submit import check

        return serializers.checked_json(check(raw, self.settings, self.database))

    def submit(self, raw: Raw) -> Facts:
        """Submit a job."""
        from scheduler.submission.submit import check, submit

        checked = check(raw, self.settings, self.database)
        with self._noted("submit"):
            number = submit(checked, self.database)
        job = job_reads.get_job(self.database, number)
        return serializers.submitted_json(
            checked, job, status_of(self.database, job, self.settings)
        )

    def jobs(self, state: str, limit: int) -> list[Facts]:
        """The newest jobs."""
        found = job_list.list_jobs(self.database, JobFilter(state=state), limit=limit)
        return serializers.jobs_json(self.database, found, self.settings)

    def job(self, number: int) -> Facts:
        """A job, with its shards by state and its progress as text."""
        return serializers.live_json(self.database, number, self.settings)

    def why(self, number: int) -> Facts:
        """The reason why a job waits."""
        job = job_reads.get_job(self.database, number)
        found = status_of(self.database, job, self.settings).reason
        return {"cause": found and found.cause, "message": found and found.message}

    def control(self, number: int, action: str) -> Facts:
        """Pause, resume or cancel a job."""
        from scheduler.submission.control import control

        with self._noted(f"{action} job", f"job {number}"):
            control(self.database, number, action)
        return self.job(number)

    def change(self, number: int, changes: Raw) -> Facts:
        """Change a job's priority, or how long it is kept."""
        from scheduler.submission.control import change

        with self._noted("change job", f"job {number}"):
            change(self.database, number, changes)
        return self.job(number)

    def delete(self, number: int) -> None:
        """Delete a job that has ended."""
        from scheduler.submission.control import control

        with self._noted("delete job", f"job {number}"):
            control(self.database, number, "delete")

    def log(self, number: int, level: str, shard: int | None) -> Iterator[Facts]:
        """All lines of a log."""
        from db.ops import logs

        job_reads.get_job(self.database, number)
        for part in logs.whole_log(self.database, number, level=level, shard=shard):
            yield from (line.as_json() for line in part)

    def log_after(
        self, number: int, level: str, shard: int | None, place: str
    ) -> tuple[list[Facts], str]:
        """Settled lines after a place, and the place to go on from."""
        from db.ops import logs

        wanted: dict[str, Any] = {"after": place, "limit": logs.CHUNK}
        found = logs.lines_after(self.database, number, level=level, shard=shard, **wanted)
        return [line.as_json() for line in found], found[-1].cursor if found else place

    def check_study(self, raw: Raw) -> Facts:
        """Check a study; nothing is written."""
        from scheduler.submission.study import check_study

        return serializers.checked_study_json(check_study(raw, self.settings, self.database))

    def submit_study(self, raw: Raw) -> Facts:
        """Submit a study."""
        from scheduler.submission.study import check_study, submit_study

        checked = check_study(raw, self.settings, self.database)
        with self._noted("submit"):
            submitted = submit_study(checked, self.database)
        return serializers.submitted_study_json(checked, submitted)

    def study(self, number: int) -> Facts:
        """A study, its jobs, and what they found."""
        return serializers.study_json(self.database, number, self.settings)

    def recurring(self) -> list[Facts]:
        """Recurring jobs with their last runs."""
        from db.queue import recurring

        return [asdict(one) for one in recurring.find(self.database)]

    def add_recurring(self, raw: Raw) -> Facts:
        """Check and store a recurring job."""
        from db.queue import recurring
        from scheduler.submission import recurring as recurring_jobs

        with self._noted("add recurring job"):
            number = recurring_jobs.add(raw, self.settings, self.database)
        return asdict(recurring.get(self.database, number))

    def control_recurring(self, number: int, action: str) -> None:
        """Pause, resume or remove a recurring job."""
        from scheduler.submission.recurring import control

        with self._noted(f"{action} recurring job", f"recurring job {number}"):
            control(self.database, number, action)

    def recipients(self) -> list[Facts]:
        """Recipients of notifications."""
        from db.ops import notifications

        return [serializers.recipient_json(one) for one in notifications.find(self.database)]

    def add_recipient(self, raw: Raw, user: str) -> Facts:
        """Add a recipient, and send it a test."""
        from db.ops import notifications
        from jobs.notifications import parse_recipient
        from scheduler.notifications.sending import describe

        new = parse_recipient(raw)
        with self._noted("add recipient"):
            added = notifications.add(self.database, new, user, *describe(new, self.settings))
        notifications.write_test(self.database, added)
        return {
            **serializers.recipient_json(added),
            "secret": notifications.secret(self.database, added.id),
        }

    def test_recipient(self, number: int) -> None:
        """Send a recipient a test."""
        from db.ops import notifications

        with self._noted("test recipient", f"recipient {number}"):
            notifications.write_test(self.database, notifications.get(self.database, number))

    def remove_recipient(self, number: int) -> None:
        """Remove a recipient, and what it waits for."""
        from db.ops import notifications

        with self._noted("remove recipient", f"recipient {number}"):
            notifications.remove(self.database, number)

    def notifications(self) -> list[Facts]:
        """The last notifications and what became of them."""
        from db.ops.notifications import list_notifications

        return [serializers.notification_json(one) for one in list_notifications(self.database)]

    def sql(self, query: str) -> Facts:
        """The first rows of a query."""
        from db.console.console import Console

        note(self.database, "sql", sql=query)
        return vars(Console(self.settings).run(query))

    def sql_plan(self, query: str) -> str:
        """The database's plan for a query, which is not run."""
        from db.console.console import Console

        note(self.database, "sql", sql=query)
        return Console(self.settings).explain(query)

    def sql_file(self, query: str, form: str) -> Iterator[bytes]:
        """All rows of a query as a file: csv, json or parquet."""
        from db.console.console import Console

        note(self.database, "sql", sql=query, download=True)
        return Console(self.settings).download(query, form)

    def table(self, number: int, view: str) -> Iterator[Rows]:
        """A job's rows of a published view."""
        from db.results import export

        job_reads.get_job(self.database, number)
        note(self.database, "export", f"job {number}", name=view)
        return export.chunks(self.database, export.EXPORTED[view], number)

    def figures(self, number: int, example: int | None) -> list[Facts]:
        """The figures of a job or of one example, with their choices."""
        return self._figures(number, example).json(self.database)

    def figure(
        self,
        number: int,
        kind: str,
        form: str,
        choices: Mapping[str, str],
        example: int | None,
    ) -> bytes:
        """A figure as a file."""
        return self._drawn(self._figures(number, example), kind, form, choices)

    def _figures(self, number: int, example: int | None) -> Figures[Any]:
        from scheduler.figures import figures_of
        from scheduler.figures.examples import figures_of_example, shown_of

        if example is None:
            return figures_of(job_reads.get_job(self.database, number))
        return figures_of_example(shown_of(self.database, number, example))

    def matrices(self, number: int) -> list[Facts]:
        """The heads and examples whose whole matrices are stored."""
        job_reads.get_job(self.database, number)
        return [serializers.stored_matrix_json(one) for one in self._stored_matrices(number)]

    def _stored_matrices(self, number: int) -> Iterator[StoredAt]:
        from db.results import matrices

        after = None
        while page := matrices.list_stored(self.database, number, limit=PAGE, after=after):
            yield from page
            after = (page[-1].example, page[-1].site, page[-1].head)

    def matrix(self, number: int, example: int, head: Head) -> Facts:
        """A head's matrices on an example, as far as they are known."""
        from scheduler.submission.matrices import look_up, on_example

        where = on_example(self.database, number, example, head)
        return serializers.matrix_json(where, look_up(where, self.database))

    def compute_matrix(self, number: int, example: int, head: Head) -> Facts:
        """Let a quick job compute a head's matrices, unless they are stored or on their way."""
        from scheduler.submission.matrices import compute, look_up, on_example

        where = on_example(self.database, number, example, head)
        place = {"example_no": example, "layer": head[0], "head": head[1]}
        with self._noted("compute matrix", f"job {number}", **place):
            compute(where, self.settings, self.database)
        return serializers.matrix_json(where, look_up(where, self.database))

    def compare(self, numbers: Sequence[int], *, studies: bool) -> Facts:
        """Jobs, or two studies, side by side."""
        from scheduler.comparison import comparison_json, studies_comparison_json
        from scheduler.comparison.sides import sides_of

        sides = sides_of(self.database, numbers, studies=studies)
        as_json = studies_comparison_json if studies else comparison_json
        return as_json(self.database, sides)

    def compared_figure(
        self,
        numbers: Sequence[int],
        kind: str,
        form: str,
        choices: Mapping[str, str],
        *,
        studies: bool,
    ) -> bytes:
        """A figure of several jobs, or two studies, as a file."""
        from scheduler.comparison.figures import figures_of_comparison
        from scheduler.comparison.sides import sides_of

        sides = sides_of(self.database, numbers, studies=studies)
        return self._drawn(figures_of_comparison(sides), kind, form, choices)

    def _drawn(
        self, figures: Figures[Any], kind: str, form: str, choices: Mapping[str, str]
    ) -> bytes:
        from headwise.errors import FigureError

        drawn = figures.draw(self.database, kind, choices)
        try:
            return drawn.figure.content(form)
        except FigureError as error:
            raise refuse("--to", form, str(error), "Or write .csv or .json.") from None

    def report(self, study: int, form: str) -> bytes:
        """The report of a study as a file."""
        from headwise.errors import FigureError
        from scheduler.report import study_report
        from scheduler.report.pdf import to_pdf

        try:
            html = study_report(self.database, study, lambda figure: figure.content("svg"))
        except FigureError as error:
            raise refuse("--to", form, str(error), "Install it.") from None
        return to_pdf(html) if form == "pdf" else html.encode()

    def tried(self, number: int) -> Facts:
        """The effect of words on a text; nothing before it is computed."""
        from db.reads.attack import Tried, get_tried

        found = get_tried(self.database, number)
        return asdict(found) if found else dict.fromkeys(Tried.__dataclass_fields__)

    def pruning(self, number: int) -> Facts:
        """The points of a pruning job, and its choice."""
        from db.kinds import pruning

        points, provisional = pruning.get_points(self.database, number)
        choice = pruning.get_choice(self.database, number)
        return {
            "points": [asdict(point) for point in points],
            "choice": choice and asdict(choice),
            "provisional": provisional,
        }

    def removed(self, number: int, mask: int) -> list[list[int]]:
        """The heads that a mask removes, as [site, head]."""
        from db.kinds.pruning import get_removed

        return [[site, head] for site, head in get_removed(self.database, number, mask)]
