"""The client against a real server, on a database that the test fills."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from werkzeug.serving import make_server

from db.database import Database
from db.results import export as exports
from headwise import Client, JobFailedError, ServerError
from headwise.client import connection
from headwise.client.errors import ConflictError, NotFoundError, RefusedError, UnreachableError
from headwise.client.tables import parquet
from headwise.errors import OptionError
from jobs.settings import load_settings
from scheduler.loop import Scheduler
from tests.helpers.apps import new_app
from tests.helpers.databases import execute, sqlite_database
from tests.helpers.ports import free_port
from tests.helpers.scheduling import Quiet
from tests.helpers.tiny import bert_folder
from tests.helpers.working import run
from tests.webui.seed import seed_job


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    database = sqlite_database(tmp_path / "headwise.sqlite")
    yield database
    database.close()


@pytest.fixture
def client(tmp_path: Path, store: Database) -> Iterator[Client]:
    app = new_app(load_settings({}, home=tmp_path))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    with Client(f"http://127.0.0.1:{server.server_port}/") as client:
        yield client
    server.shutdown()
    thread.join()
    server.server_close()
    app.extensions["headwise"].database.close()


@pytest.fixture
def model(tmp_path: Path) -> str:
    bert_folder(tmp_path / "model")
    return str(tmp_path / "model")


def test_the_matrix_of_a_head_is_computed_and_drawn(
    client: Client,
    store: Database,
    tmp_path: Path,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The client waits for the quick job, which a worker computes between two questions."""
    settings = load_settings({}, home=tmp_path, threads=1, device="cpu")
    rows = [{"text": "the old cat sings"}]
    job = client.submit(model, rows, texts=["text"])
    scheduler = Scheduler(settings, store, Quiet())  # type: ignore[arg-type]

    def work() -> None:
        scheduler.plan()
        run(settings, store, 1000.0)

    work()
    with pytest.raises(TimeoutError):
        job.matrix(0, layer=1, head=2, timeout=0.1)
    work()
    figure = job.matrix(0, layer=1, head=2)
    assert figure.title == "Attention and attribution of L1 H2 on example 0"
    assert sum(row["attention"] for row in figure.rows if row["query"] == 1) == pytest.approx(1)
    (score,) = job.scores().query("layer == 1 and head == 2")["score"]
    assert max(row["attribution"] for row in figure.rows) == pytest.approx(score, rel=1e-3)
    with pytest.raises(NotFoundError):
        job.matrix(0, layer=1, head=9)
    # What is stored is only read, so that those who may not submit jobs can have it.
    methods, send = [], client._connection.send
    monkeypatch.setattr(
        client._connection,
        "send",
        lambda method, *path, **more: methods.append(method) or send(method, *path, **more),
    )
    assert job.matrix(0, layer=1, head=3).title.endswith("of L1 H3 on example 0")
    assert set(methods) == {"GET"}


def test_results_are_data_frames_with_the_columns_of_the_views(
    client: Client, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "CHUNK", 50)
    job = client.job(seed_job(store, examples=9, name="mine"))
    assert (job.state, job.final, repr(job)[:16]) == ("succeeded", True, "<Job 1 succeeded")
    heads = job.heads()
    assert list(heads["rank"]) == list(range(1, 73))
    assert list(heads.columns) == [one.name for one in exports.EXPORTED["head_importance"].columns]
    scores = job.scores()
    assert len(scores) == 9 * 72
    means = scores.groupby(["layer", "head"])["score"].mean()
    first = heads.iloc[0]
    assert means[first["layer"], first["head"]] == pytest.approx(first["mean"], abs=1e-6)
    assert list(job.examples()["example"]) == list(range(9))
    assert not job.edges().empty
    assert job.address.endswith("/jobs/1")
    paged = client._connection.rows("/jobs/1/heads", "heads", {"limit": 30})
    assert [one["mean"] for one in paged] == list(heads["mean"])
    assert job.rankings().empty
    assert job.triggers().empty
    found = client.sql("SELECT COUNT(*) AS n FROM head_scores")
    assert found["n"].tolist() == [9 * 72]
    assert found.attrs["cut_by"] is None


def test_jobs_are_listed_page_by_page(client: Client, store: Database) -> None:
    for number in range(3):
        seed_job(store, name=f"run {number}", examples=2)
    assert [job.id for job in client.jobs()] == [3, 2, 1]
    assert [job.id for job in client.jobs(search="run 1")] == [2]
    assert list(client.jobs(state="failed")) == []


@pytest.mark.parametrize("form", ["texts", "column", "rows", "frame", "arrow", "file", "many"])
def test_data_of_every_form_is_submitted(
    client: Client, store: Database, model: str, tmp_path: Path, form: str
) -> None:
    frame = pd.DataFrame({"sentence": ["so it is", "it is so"], "label": ["0", "1"]})
    outside = tmp_path / "elsewhere.csv"
    frame.to_csv(outside, index=False)
    forms = {
        "texts": ["so it is", "it is so"],
        "column": frame["sentence"],
        "rows": frame.to_dict("records"),
        "frame": frame,
        "arrow": pa.Table.from_pandas(frame),
        "file": outside,
        "many": ["so it is"] * 1_001,
    }
    label = "label" if form in ("rows", "frame", "arrow") else None
    texts = ["sentence"] if form == "file" else []
    job = client.submit(
        *(model, forms[form]),
        texts=texts,
        label=label,
        name=form,
        priority=3,
    )
    assert (job.state, job.facts["name"], job.facts["priority"]) == ("queued", form, 3)
    assert job.facts["examples"] == (1_001 if form == "many" else 2)
    again = client.submit(*(model, forms[form]), texts=texts, label=label)
    assert again.id == job.id


def test_every_library_of_data_frames_makes_the_same_file() -> None:
    table = pa.table({"text": ["a", None], "label": [1, 2]})

    class Polars:
        """Its data frames write themselves."""

        def write_parquet(self, file: BinaryIO) -> None:
            pq.write_table(table, file)

    class Other:
        """A data frame that speaks Arrow alone."""

        def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
            return table.__arrow_c_stream__(requested_schema)

    for frame in (table.to_pandas(), Polars(), Other(), table):
        assert pq.read_table(io.BytesIO(parquet(frame))).to_pydict() == table.to_pydict()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (5, "not int"),
        ((one for one in "ab"), "not generator"),
        ([["a"]], "list of texts"),
        ([{"text": "a", "label": float("inf")}], "row 0 of the data cannot be sent"),
        ([{"text": "a"}, {"text": b"a"}], "row 1 of the data cannot be sent"),
    ],
)
def test_data_of_other_forms_is_refused_before_it_is_sent(
    client: Client, data: Any, words: str
) -> None:
    with pytest.raises(TypeError, match=words):
        client.submit("org/model", data)


def test_a_missing_label_is_missing(client: Client, model: str) -> None:
    rows = [{"text": "so it is", "label": "0"}, {"text": "is it", "label": float("nan")}]
    found = client.check(model, rows, texts=["text"], label="label")
    assert found["estimate"]["examples"] == 2


def test_a_folder_of_this_machine_must_be_one_of_the_server(
    client: Client, model: str, tmp_path: Path
) -> None:
    assert client.submit(Path(model), ["so it is"]).facts["examples"] == 1
    with pytest.raises(RefusedError) as refused:
        client.submit(tmp_path / "nothing", ["so it is"])
    assert refused.value.problems[0].field == "model.name"


def test_a_server_of_another_release(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ServerError, match="has no 'newer': it runs an older release"):
        client._connection.json("GET", "/presets")["newer"]
    with pytest.raises(NotFoundError, match="there is nothing at this address"):
        client._connection.json("GET", "/newer")
    monkeypatch.setattr(connection, "version", lambda _name: "9.0")
    with pytest.raises(ServerError, match="does not know this request"):
        client._connection.json("GET", "/newer")


def test_ctrl_c_leaves_the_job_running(
    client: Client, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = client.job(seed_job(store, state="running", done=2))

    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        job.wait()
    assert client.job(job.id).state == "running"


def test_a_check_writes_nothing(client: Client, model: str) -> None:
    found = client.check(model, ["so it is"], rtol=1e-2)
    assert found["estimate"]["examples"] == 1
    assert list(client.jobs()) == []


def test_errors_carry_the_problems_of_the_server(client: Client, model: str) -> None:
    with pytest.raises(RefusedError) as refused:
        client.submit(model, ["so it is"], rtoll=1, select={"sample": -1})
    problems = {one.field: one for one in refused.value.problems}
    assert refused.value.status == 400
    assert "rtol" in problems["rtoll"].remedy
    assert "data.sample" in problems
    assert "rtoll" in str(refused.value)
    with pytest.raises(NotFoundError, match="no job 99"):
        client.job(99)
    with pytest.raises(RefusedError, match="syntax"):
        client.sql("SELECT FROM")
    with pytest.raises(TypeError, match="list of texts"):
        client.submit(model, [1, 2])  # type: ignore[list-item]
    assert issubclass(RefusedError, ServerError)


def test_control_and_state(client: Client, store: Database) -> None:
    job = client.job(seed_job(store, state="running", done=2))
    assert job.pause().state == "paused"
    assert job.why() is not None
    assert job.resume().state == "running"
    with pytest.raises(ConflictError):
        job.delete()
    assert isinstance(list(job.log()), list)
    with pytest.raises(TimeoutError, match=r"job 1 is (executing|waiting) .* after 0\.1 s"):
        job.wait(0.1, progress=False)
    execute(store, "UPDATE job SET state = 'failed', error = 'no memory', finished_at = 1")
    with pytest.raises(JobFailedError, match="job 1 failed: no memory") as failed:
        job.wait()
    assert (failed.value.job, failed.value.state) == (1, "failed")
    job.delete()
    with pytest.raises(NotFoundError):
        job.refresh()


@pytest.mark.parametrize("address", ["", "nonsense", "ftp://a", "http://", "http://a:x", None])
def test_what_is_no_address_is_refused_at_once(address: Any) -> None:
    with pytest.raises(OptionError, match="address: is not the address of a server"):
        Client(address)


@pytest.mark.parametrize(
    "address",
    ["https://ada:secret@h", "htp://ada:secret@h", "https://ada:secret@h:x", "http://h/?t=secret"],
)
def test_an_address_with_a_secret_is_refused_without_showing_it(address: str) -> None:
    with pytest.raises(OptionError, match="address: ") as refused:
        Client(address)
    assert "secret" not in str(refused.value)


def test_tokens_are_read_as_files_have_them(client: Client) -> None:
    with Client(client._connection.address, token="hw_read_abc\n") as other:
        assert other._connection._http.headers["Authorization"] == "Bearer hw_read_abc"
    for token in ("hw é", "two words", "a\nb"):
        with pytest.raises(OptionError, match="token: has characters") as refused:
            Client(token=token)
        assert token not in str(refused.value)


def test_another_path_of_a_server_is_no_other_release(client: Client) -> None:
    with (
        Client(f"{client._connection.address}/dashboard") as other,
        pytest.raises(NotFoundError, match="there is nothing at this address"),
    ):
        other.job(1)


def test_the_proxy_that_was_asked_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "RETRY_SECONDS", 0)
    monkeypatch.setenv("http_proxy", f"http://ann:secret@127.0.0.1:{free_port()}")
    with (
        Client("http://headwise.example.org") as client,
        pytest.raises(UnreachableError, match=r"through the proxy 127\.0\.0\.1:") as refused,
    ):
        client.job(1)
    assert "secret" not in str(refused.value)


def test_a_server_that_is_away_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "RETRY_SECONDS", 1.2)
    client = Client(f"http://127.0.0.1:{free_port()}")
    with client, pytest.raises(UnreachableError, match="does not answer"):
        client.job(1)


def test_a_stream_that_is_cut_off_is_an_error(client: Client, store: Database) -> None:
    job = client.job(seed_job(store))
    whole = b"".join(
        exports.arrow_parts(
            exports.EXPORTED["head_scores"],
            exports.chunks(store, exports.EXPORTED["head_scores"], 1),
        )
    )
    from headwise.client.tables import read_arrow

    assert len(read_arrow(iter([whole]))) == len(job.scores())
    with pytest.raises((pa.ArrowInvalid, OSError)):
        read_arrow(iter([whole[: len(whole) // 2]]))


def test_figures_have_the_numbers_of_the_server(client: Client, store: Database) -> None:
    job = client.job(seed_job(store, examples=9))
    listed = job.figures().set_index("name")
    assert {"heads", "completeness"} <= set(listed.index)
    figure = job.figure("heads", measure="mean_total")
    heads = job.heads().sort_values(["layer", "head"])
    assert [row["mean_total"] for row in figure.rows] == heads["mean_total"].tolist()
    assert f"job {job.id}" in figure.caption
    assert figure.svg().startswith("<svg")
    with pytest.raises(RefusedError, match="measure"):
        job.figure("heads", measure="weight")
    with pytest.raises(NotFoundError, match="no figure 'curve'"):
        job.figure("curve")
    words = job.figure("words", example=2, site=1)
    assert f"job {job.id}" in words.caption
    assert words.svg().startswith("<svg")
    assert "tau_last" in job.figures(example=2).set_index("name").loc["tree", "choices"]
    with pytest.raises(RefusedError, match="site"):
        job.figure("words", example=2, site="x")


def test_jobs_are_compared(client: Client, store: Database) -> None:
    one, two = (seed_job(store, examples=9, name=name) for name in ("first", "second"))
    found = client.compare(one, two)
    assert found.sides()["job"].tolist() == [one, two]
    assert found.differences().columns.tolist() == [f"job {one}", f"job {two}"]
    assert found.warnings == []
    assert {"heads", "ranks"} <= set(found.figures()["name"])
    sides = found.sides().set_index("job")
    assert [row["accuracy"] for row in found.figure("accuracy").rows] == sides["accuracy"].tolist()
    with pytest.raises(NotFoundError, match="There is no job 99"):
        client.compare(one, 99)
    with pytest.raises(RefusedError, match="given twice"):
        client.compare(one, one)
    with pytest.raises(ValueError, match="two studies are compared, not 3"):
        client.compare(1, 2, 3, studies=True)
    with pytest.raises(NotFoundError, match="study 1"):
        client.compare(1, 2, studies=True)


def test_the_client_needs_no_torch() -> None:
    program = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None; import headwise; "
        "headwise.Client('http://localhost:1').close(); print('server' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "False\n"), ran.stderr
