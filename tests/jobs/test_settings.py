"""Settings: from the environment, with every bad key named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobs.errors import InputError
from jobs.settings import PREFIX, Settings, load_settings
from tests.helpers.inputs import refused


def test_the_default_home_is_below_the_users_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somebody")
    settings = load_settings({})
    assert settings.home == Path("/somebody/.headwise")
    assert settings.database == "sqlite:////somebody/.headwise/headwise.sqlite"
    assert settings.broker == "sqla+sqlite:////somebody/.headwise/broker.sqlite"
    assert settings.uploads == Path("/somebody/.headwise/uploads")


def test_keys_come_from_the_environment_and_overrides_win() -> None:
    environ = {"HEADWISE_PORT": "9000", "HEADWISE_HOST": "::1", "PATH": "/bin"}
    settings = load_settings(environ, port=9001)
    assert (settings.host, settings.port) == ("::1", 9001)


def test_an_empty_value_means_the_default() -> None:
    assert load_settings({"HEADWISE_PORT": ""}).port == 8600


def test_a_relative_home_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings({"HEADWISE_HOME": "data"}).home == tmp_path / "data"


def test_an_unknown_key_comes_with_the_nearest_known_one() -> None:
    problem = refused(
        lambda: load_settings({"HEADWISE_DATABSE_URL": "x"}),
        "unknown setting",
        "given: 'x'",
        "Did you mean 'HEADWISE_DATABASE_URL'?",
    )
    assert problem.field == "HEADWISE_DATABSE_URL"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("PORT", "0", ("must be at least 1", "Port the dashboard")),
        ("PORT", "http", ("must be a whole number", "Port the dashboard")),
        (
            "QUEUE",
            "My Queue",
            ("the required form", "Queue that jobs are submitted to"),
        ),
        ("QUEUES", "gpu,My Queue", ("'My Queue' is not a queue name", "separated by ','")),
        ("DEVICE", "tpu", ("the required form", "auto, cpu, cuda or cuda:0")),
        ("LEASE_SECONDS", "0", ("must be at least 1", "lease")),
        ("TICK_SECONDS", "nan", ("rounds of the scheduler",)),
        ("LOG_LEVEL", "loud", ("must be 'debug', 'info', 'warning' or 'error'", "Lowest level")),
        ("DATABASE_URL", "mysql://h/x", ("sqlite:/// or postgresql://",)),
        ("BROKER_URL", "kafka://h", ("redis://, amqp:// or sqla+sqlite:///",)),
        ("BROKER_URL", "sqla+foo", ("redis://, amqp:// or sqla+sqlite:///",)),
        ("BROKER_URL", "redis://h:port/0", ("port that is not a number",)),
        ("BROKER_URL", "amqp://h:99999//", ("port that is not a number",)),
        ("TRUSTED_HOSTS", "https://h.org", ("'https://h.org' is not a host name", "no scheme")),
        ("TRUSTED_HOSTS", "h.org:8600", ("'h.org:8600' is not a host name", "no scheme, port")),
        ("TRUSTED_HOSTS", "a.org,h.org/x", ("'h.org/x' is not a host name", "or path")),
        ("TRUSTED_HOSTS", "*.h.org", ("'*.h.org' is not a host name", ".example.org")),
        ("TRUSTED_HOSTS", "a.org b.org", ("is not a host name", "separated by ','")),
        ("HOME", "~nobody-of-that-name/x", ("unknown user", "The data folder")),
    ],
)
def test_a_bad_value_is_named_with_its_key_and_meaning(
    key: str, value: str, words: tuple[str, ...]
) -> None:
    problem = refused(lambda: load_settings({PREFIX + key: value}), f"given: {value!r}", *words)
    assert problem.field == PREFIX + key


def test_trusted_hosts_are_read_as_host_headers_spell_them() -> None:
    settings = load_settings({"HEADWISE_TRUSTED_HOSTS": " Heads.Example.org, .lab.example ,"})
    assert settings.trusted_hosts == "heads.example.org,.lab.example"


def test_a_worker_serves_the_queue_or_the_queues_that_are_named() -> None:
    assert load_settings({"HEADWISE_QUEUE": "gpu"}).served_queues == "gpu"
    named = {"HEADWISE_QUEUE": "gpu", "HEADWISE_QUEUES": " cpu, gpu,,cpu"}
    assert load_settings(named).served_queues == "cpu,gpu"


def test_a_value_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://u:secret@h/d\n")
    settings = load_settings({"HEADWISE_DATABASE_URL_FILE": str(tmp_path / "url")})
    assert settings.database == "postgresql+psycopg://u:secret@h/d"
    assert load_settings({"HEADWISE_DATABASE_URL_FILE": ""}).database_url == ""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"mysql://u:secret@h/d", ("must start with sqlite:/// or postgresql://",)),
        (b" \n", ("is an empty file", "Write the value into it")),
        (b"\xff\xfe", ("cannot be read: it is not a text file", "readable file")),
        (None, ("cannot be read: No such file", "readable file")),
    ],
)
def test_a_bad_file_is_named_and_its_content_is_not_shown(
    tmp_path: Path, content: bytes | None, words: tuple[str, ...]
) -> None:
    file = tmp_path / "url"
    if content is not None:
        file.write_bytes(content)
    environ = {"HEADWISE_DATABASE_URL_FILE": str(file)}
    problem = refused(lambda: load_settings(environ), *words)
    assert (problem.field, problem.value) == ("HEADWISE_DATABASE_URL_FILE", str(file))
    assert "secret" not in str(problem)


def test_a_value_and_a_file_for_it_are_too_much(tmp_path: Path) -> None:
    (tmp_path / "port").write_text("9000")
    environ = {"HEADWISE_PORT": "9001", "HEADWISE_PORT_FILE": str(tmp_path / "port")}
    problem = refused(
        lambda: load_settings(environ), "HEADWISE_PORT is set as well", "Set only one"
    )
    assert problem.field == "HEADWISE_PORT_FILE"
    unknown = refused(lambda: load_settings({"HEADWISE_PROT_FILE": "x"}), "unknown setting")
    assert unknown.field == "HEADWISE_PROT_FILE"


def test_every_problem_is_reported_at_once() -> None:
    with pytest.raises(InputError) as caught:
        load_settings({"HEADWISE_PORT": "x", "HEADWISE_SQL_ROWS": "0", "HEADWISE_COLOUR": "red"})
    fields = {problem.field for problem in caught.value.problems}
    assert fields == {"HEADWISE_PORT", "HEADWISE_SQL_ROWS", "HEADWISE_COLOUR"}


def test_an_unknown_override_is_refused() -> None:
    refused(lambda: load_settings({}, colour="red"), "HEADWISE_COLOUR", "given: 'red'")


@pytest.mark.parametrize("scheme", ["postgresql://", "postgresql+psycopg://"])
def test_a_plain_postgresql_address_gets_its_driver(scheme: str) -> None:
    settings = load_settings({"HEADWISE_DATABASE_URL": f"{scheme}u@h/d"})
    assert settings.database == "postgresql+psycopg://u@h/d"


def test_readable_folders_are_home_and_the_allowed_ones_with_links_followed(
    tmp_path: Path,
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    folders = os.pathsep.join([str(tmp_path / "link"), " ", str(tmp_path / "other")])
    settings = Settings(home=tmp_path / "home", allowed_folders=folders)
    assert settings.readable_folders == (
        tmp_path / "home",
        tmp_path / "real",
        tmp_path / "other",
    )
