"""Notifications, on both databases: who is told of what, once, whatever ends in between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from ipaddress import ip_network
from typing import Any

import pytest

from db.accounts import accounts
from db.database import Database
from db.ops import fleet, notifications
from db.ops.fleet import ProcessState
from db.queue import claims
from jobs.errors import ConflictError, InputError, NotFoundError
from jobs.notifications import JobEvents, parse_recipient
from jobs.people import Role
from jobs.settings import Settings
from scheduler.loop import Scheduler
from scheduler.notifications.delivery import Notifier
from scheduler.notifications.sending import describe
from scheduler.notifications.sending_process import RefusedError, refuse_private, sign
from scheduler.submission.control import control
from scheduler.submission.submit import check, submit
from tests.helpers.databases import execute, rows
from tests.helpers.inputs import raw_submission
from tests.helpers.jobs import ALICE, BOB, planned_job
from tests.helpers.receiver import Receiver, receiving
from tests.helpers.scheduling import commit_everything


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(
        update={
            "notify_networks": "127.0.0.0/8",
            "public_url": "https://headwise.example.org/",
        }
    )


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def notifier(settings: Settings, database: Database) -> Notifier:
    return Notifier(settings, database)


PRIVATE = (
    *("127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.0.1", "100.64.0.1"),
    *("169.254.169.254", "224.0.0.1", "255.255.255.255", "198.18.0.1"),
    *("::", "::1", "fe80::1%eth0", "fc00::1", "fec0::1", "ff02::1", "2001:db8::1"),
    # IPv4 within IPv6: mapped, compatible, 6to4, NAT64, its local form, Teredo.
    *("::ffff:10.1.2.3", "::10.1.2.3", "2002:a01:203::1", "64:ff9b::10.1.2.3"),
    *("64:ff9b:1::10.1.2.3", "2001:0:a01:203::1"),
)
PUBLIC = ("93.184.215.14", "2606:2800:21f::1", "::ffff:93.184.215.14", "64:ff9b::93.184.215.14")


def recipient(database: Database, receiver: Receiver, user: str = "", **changes: Any) -> int:
    """A webhook at the receiver."""
    raw = {"name": f"to {changes} {user}", "address": f"http://{receiver.address}/hook", **changes}
    return notifications.add(database, parse_recipient(raw), user, "Webhook", "http://…").id


def ended_job(scheduler: Scheduler, database: Database, **changes: Any) -> int:
    """A job that has succeeded."""
    job = planned_job(database, **changes)
    commit_everything(database)
    scheduler.tick()
    return job


def told(receiver: Receiver) -> list[str]:
    """The titles that were received."""
    return [json.loads(body)["title"] for _, _, body in receiver.requests]


def test_a_webhook_is_told_once_of_a_job_that_ended(
    notifier: Notifier, scheduler: Scheduler, database: Database, receiver: Receiver
) -> None:
    number = recipient(database, receiver)
    job = ended_job(scheduler, database, name="my heads")
    assert notifier.round() == 1
    assert notifier.round() == 0
    [(path, headers, body)] = receiver.requests
    assert path == "/hook"
    payload = json.loads(body)
    assert payload["title"] == f"Job {job} succeeded: my heads"
    assert payload["url"] == f"https://headwise.example.org/jobs/{job}"
    assert payload["text"].startswith("6 examples in ")
    assert "has the largest mean attribution" in payload["text"]
    assert (payload["state"], payload["job"], payload["examples"]) == ("succeeded", job, 6)
    secret = notifications.secret(database, number)
    assert secret is not None
    wanted = sign(secret, headers["webhook-id"], int(headers["webhook-timestamp"]), body)
    assert headers["webhook-signature"] == wanted
    [row] = notifications.list_notifications(database)
    assert (row.state, row.event, row.tries) == ("sent", f"job:{job}", 1)


def test_the_signature_is_that_of_the_specification() -> None:
    # Checked with the reference library, standardwebhooks 1.0.0.
    secret = "whsec_plJ3nmyCDGBKInavdOK15jsl"
    wanted = "v1,04RJbW8Qr0MI9nf43tqeWQRmvaGD5E8+cbnpZ8O9q7E="
    assert sign(secret, "msg_1", 1_790_000_000, b'{"a":1}') == wanted


def test_two_schedulers_tell_everything_once(
    settings: Settings, scheduler: Scheduler, database: Database, receiver: Receiver
) -> None:
    recipient(database, receiver)
    jobs = [ended_job(scheduler, database) for _ in range(6)]
    pair = [Notifier(settings, database) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(4):
            list(pool.map(Notifier.round, pair))
    assert sorted(told(receiver)) == sorted(f"Job {job} succeeded: test" for job in jobs)


@pytest.mark.parametrize(
    ("wanted", "events"),
    [
        (JobEvents.ALL, ["long", "failed", "short"]),
        (JobEvents.LONG, ["long", "failed"]),
        (JobEvents.FAILED, ["failed"]),
        (JobEvents.ASKED, []),
    ],
)
def test_a_recipient_is_told_of_the_jobs_that_it_wants(
    database: Database,
    scheduler: Scheduler,
    receiver: Receiver,
    wanted: JobEvents,
    events: list[str],
) -> None:
    recipient(database, receiver, jobs=wanted)
    for name in ("long", "failed", "short"):
        job = ended_job(scheduler, database, name=name)
        if name == "long":
            execute(database, f"UPDATE job SET started_at = started_at - 601 WHERE id = {job}")
        if name == "failed":
            execute(database, f"UPDATE job SET state = 'failed' WHERE id = {job}")
    assert notifications.write_ended(database) == len(events)
    found = rows(
        database,
        "SELECT j.name FROM notification n JOIN job j ON n.event = 'job:' || j.id ORDER BY j.id",
    )
    assert [name for (name,) in found] == events


def test_users_are_told_of_their_own_jobs_since_they_asked(
    database: Database, scheduler: Scheduler, receiver: Receiver
) -> None:
    ended_job(scheduler, database, user_name="ann", name="before")
    recipient(database, receiver, user="ann")
    recipient(database, receiver, user="bob")
    ended_job(scheduler, database, user_name="ann", name="after")
    assert notifications.write_ended(database) == 1
    assert notifications.write_ended(database) == 0


def test_somebody_who_is_disabled_is_told_nothing(
    database: Database, scheduler: Scheduler, receiver: Receiver
) -> None:
    ann = accounts.add(database, "Ann", Role.ADMIN)
    recipient(database, receiver, user="ann", conditions=True)
    ended_job(scheduler, database, user_name="ann")
    assert notifications.write_ended(database) == 1
    accounts.add_identity(database, "https://login.example", "1", ["Bob"], Role.ADMIN)
    accounts.set_disabled(database, ann, True)
    assert rows(database, "SELECT * FROM notification") == []  # what waited is not sent
    ended_job(scheduler, database, user_name="ann")
    assert notifications.write_ended(database) == 0
    notifications.tell_conditions(database, {}, {"w1": "Worker w1 is dead."})
    assert rows(database, "SELECT * FROM notification") == []
    accounts.set_disabled(database, ann, False)
    notifications.tell_conditions(database, {}, {"w2": "Worker w2 is dead."})
    assert rows(database, "SELECT message FROM notification") == [("Worker w2 is dead.",)]


def test_a_job_may_be_asked_for_alone(
    notifier: Notifier, database: Database, scheduler: Scheduler, receiver: Receiver
) -> None:
    number = recipient(database, receiver, user="ann", jobs=JobEvents.ASKED)
    job = planned_job(database, user_name="bob")
    notifications.tell(database, job, number, told=False)
    assert notifications.told_of_job(database, job) == set()
    notifications.tell(database, job, number, told=True)
    assert notifications.told_of_job(database, job) == {number}
    claims.claim(database, ALICE, 60)
    control(database, job, "cancel")
    notifier.round()
    assert receiver.requests == []  # it has not ended: a worker still holds a shard
    execute(database, "UPDATE shard SET lease_until = 1 WHERE state = 'leased'")
    scheduler.tick()
    scheduler.tick()
    notifier.round()
    assert told(receiver) == [f"Job {job} was cancelled: test"]


def test_quick_jobs_are_not_told(
    database: Database, scheduler: Scheduler, receiver: Receiver
) -> None:
    recipient(database, receiver)
    spec = '{"data":{"inline":true},"keep_text":true}'
    ended_job(scheduler, database, examples=1, spec=spec)
    assert notifications.write_ended(database) == 0


def test_a_study_is_told_when_its_last_job_has_ended(
    notifier: Notifier, database: Database, scheduler: Scheduler, receiver: Receiver
) -> None:
    recipient(database, receiver)
    first, second = planned_job(database), planned_job(database)
    execute(database, "INSERT INTO study (id, name, user_name, created_at) VALUES (1, 's', 'u', 0)")
    for position, job in enumerate((first, second)):
        values = f"(1, 'step{position}', {position}, {job})"
        execute(
            database, f"INSERT INTO study_step (study_id, step, position, job_id) VALUES {values}"
        )
    execute(database, f"UPDATE shard SET state = 'done' WHERE job_id = {second}")
    execute(database, f"UPDATE job SET state = 'failed', finished_at = 0 WHERE id = {second}")
    notifier.round()
    assert receiver.requests == []
    commit_everything(database)
    scheduler.tick()
    notifier.round()
    assert told(receiver) == ["Study 1 failed: s"]
    assert "Not succeeded: step1." in json.loads(receiver.requests[0][2])["text"]


def test_an_unwilling_receiver_is_tried_again_with_the_same_id(
    notifier: Notifier, database: Database, scheduler: Scheduler, receiver: Receiver
) -> None:
    recipient(database, receiver)
    receiver.answers += [503, 503]
    ended_job(scheduler, database)
    notifier.round()
    [row] = notifications.list_notifications(database)
    assert (row.state, row.tries) == ("waiting", 1)
    assert row.error == "it answered 503 Service Unavailable"
    assert 25 < row.due_at - row.now <= 30
    assert notifier.round() == 0
    for _ in range(2):
        execute(database, "UPDATE notification SET due_at = 0")
        notifier.round()
    assert rows(database, "SELECT state, tries, error FROM notification") == [("sent", 3, None)]
    assert len({headers["webhook-id"] for _, headers, _ in receiver.requests}) == 1


def test_a_notification_is_given_up(
    notifier: Notifier, database: Database, scheduler: Scheduler, receiver: Receiver
) -> None:
    recipient(database, receiver)
    receiver.answers += [500] * 20
    ended_job(scheduler, database)
    for _ in range(notifications.MAX_TRIES + 2):
        execute(database, "UPDATE notification SET due_at = 0")
        notifier.round()
    state = [("failed", notifications.MAX_TRIES)]
    assert rows(database, "SELECT state, tries FROM notification") == state
    assert len(receiver.requests) == notifications.MAX_TRIES


@pytest.mark.parametrize("status", [302, 404, 410])
def test_an_answer_that_stays_the_same_is_final(
    notifier: Notifier,
    database: Database,
    scheduler: Scheduler,
    receiver: Receiver,
    status: int,
) -> None:
    recipient(database, receiver)
    receiver.answers.append(status)
    receiver.redirect = f"http://{receiver.address}/elsewhere"
    ended_job(scheduler, database)
    notifier.round()
    [row] = notifications.list_notifications(database)
    assert row.state == "failed"
    assert str(status) in (row.error or "")
    assert len(receiver.requests) == 1


def test_what_a_killed_scheduler_had_taken_is_delivered_by_another(
    notifier: Notifier, database: Database, scheduler: Scheduler, receiver: Receiver
) -> None:
    recipient(database, receiver)
    ended_job(scheduler, database)
    notifications.write_ended(database)
    [taken] = notifications.take(database, 4)
    assert notifier.round() == 0
    execute(database, f"UPDATE notification SET due_at = due_at - {notifications.TAKEN_SECONDS}")
    assert notifier.round() == 1
    # The one that was only slow changes nothing any more.
    notifications.not_delivered(database, taken, "late", final=True)
    assert rows(database, "SELECT state, tries FROM notification") == [("sent", 2)]


def test_a_deleted_job_is_not_told(
    notifier: Notifier, database: Database, scheduler: Scheduler, receiver: Receiver
) -> None:
    recipient(database, receiver)
    job = ended_job(scheduler, database)
    notifications.write_ended(database)
    control(database, job, "delete")
    notifier.round()
    assert receiver.requests == []
    assert rows(database, "SELECT state FROM notification") == [("failed",)]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"])
def test_private_addresses_are_refused_unless_allowed(
    settings: Settings, database: Database, scheduler: Scheduler, receiver: Receiver, host: str
) -> None:
    port = receiver.address.rpartition(":")[2]
    recipient(database, receiver, address=f"http://{host}:{port}/hook")
    ended_job(scheduler, database)
    Notifier(settings.model_copy(update={"notify_networks": ""}), database).round()
    assert receiver.requests == []
    [row] = notifications.list_notifications(database)
    assert "is a private address" in (row.error or "")


@pytest.mark.parametrize(
    ("address", "allowed", "passes"),
    [
        *((address, "", False) for address in PRIVATE),
        *((address, "", True) for address in PUBLIC),
        ("::1", "::1/128", True),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("::ffff:10.1.2.3", "10.0.0.0/8", True),
        ("64:ff9b::10.1.2.3", "10.0.0.0/8", True),
        ("192.168.0.1", "10.0.0.0/8", False),
    ],
)
def test_addresses_that_are_private_in_any_form(address: str, allowed: str, passes: bool) -> None:
    networks = [ip_network(one) for one in allowed.split()]
    with nullcontext() if passes else pytest.raises(RefusedError, match="is a private address"):
        refuse_private((address, 443, 0, 0), networks)


def test_other_services_are_guarded_alike(
    settings: Settings, database: Database, scheduler: Scheduler, receiver: Receiver
) -> None:
    recipient(database, receiver, address=f"json://{receiver.address}/apprise")
    ended_job(scheduler, database)
    closed = settings.model_copy(update={"notify_networks": ""})
    Notifier(closed, database).round()
    assert receiver.requests == []
    execute(database, "UPDATE notification SET due_at = 0, state = 'waiting'")
    Notifier(settings, database).round()
    [(path, _, body)] = receiver.requests
    assert path == "/apprise"
    assert json.loads(body)["title"].startswith("Job 1 succeeded")


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ({"name": "", "address": "https://a.example/"}, "name"),
        ({"name": "a", "address": "https://user:pass@a.example/"}, "address"),
        ({"name": "a", "address": "https://"}, "address"),
        ({"name": "a", "address": "syslog://"}, "address"),
        ({"name": "a", "address": "file:///etc/passwd"}, "address"),
        ({"name": "a", "address": "nothing"}, "address"),
        ({"name": "a", "address": "ann@example.org"}, "address"),
        ({"name": "a", "address": "https://a.example/", "jobs": "some"}, "jobs"),
        ({"name": "a", "address": "https://a.example/\n", "b": 1}, "b"),
    ],
)
def test_bad_recipients_are_refused(settings: Settings, raw: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as refused:
        describe(parse_recipient(raw), settings)
    assert [problem.field for problem in refused.value.problems] == [field]
    assert "pass" not in str(refused.value).replace("passwd", "").replace("password", "")


def test_addresses_are_shown_without_secrets(settings: Settings) -> None:
    def shown(address: str) -> tuple[str, str]:
        return describe(parse_recipient({"name": "a", "address": address}), settings)

    assert shown("https://a.example:8443/secret?token=1") == ("Webhook", "https://a.example:8443/…")
    assert shown("ntfys://ann:secret@ntfy.example.org/topic?priority=high") == (
        "ntfy",
        "ntfys://ann:****@ntfy.example.org/topic",
    )


def test_a_name_is_given_once_and_removal_takes_what_waits_along(
    database: Database, scheduler: Scheduler, receiver: Receiver
) -> None:
    number = recipient(database, receiver, name="team")
    with pytest.raises(ConflictError, match="'team' already"):
        recipient(database, receiver, name="team")
    ended_job(scheduler, database)
    notifications.write_ended(database)
    notifications.remove(database, number)
    assert rows(database, "SELECT * FROM notification") == []
    with pytest.raises(NotFoundError):
        notifications.remove(database, number)


def test_a_submission_names_recipients(
    settings: Settings, database: Database, scheduler: Scheduler, receiver: Receiver
) -> None:
    raw = raw_submission(settings.home) | {"user": "ann", "notify": ["mine", "team"]}
    with pytest.raises(InputError, match=r"notify: is not a recipient .*'mine'.*notify add"):
        check(raw, settings, database)
    mine = recipient(database, receiver, user="ann", name="mine", jobs=JobEvents.ASKED)
    team = recipient(database, receiver, name="team", jobs=JobEvents.ASKED)
    recipient(database, receiver, user="bob", name="his")
    with pytest.raises(InputError, match="notify: is not a recipient"):
        check(raw | {"notify": ["his"]}, settings, database)
    job = submit(check(raw, settings, database), database)
    assert notifications.told_of_job(database, job) == {mine, team}
    again = submit(check(raw | {"notify": []}, settings, database), database)
    assert (again, notifications.told_of_job(database, job)) == (job, {mine, team})


def test_operators_are_told_of_lasting_conditions_once(
    database: Database, receiver: Receiver
) -> None:
    recipient(database, receiver)
    number = recipient(database, receiver, conditions=True)

    def tell(*wrong: str) -> list[tuple[str, str]]:
        messages = {what: f"The {what} is full." for what in wrong}
        notifications.tell_conditions(database, messages, {})
        query = "SELECT event, message FROM notification ORDER BY id"
        return [(event.rpartition(":")[0], message) for event, message in rows(database, query)]

    assert tell("disk") == []  # it may mend itself
    execute(database, "UPDATE open_condition SET since = since - 60")
    told = [("condition:disk", "The disk is full.")]
    assert tell("disk") == told
    assert tell("disk", "broker") == told
    assert tell() == told  # a moment without it is not its end
    execute(database, "UPDATE open_condition SET seen_at = seen_at - 181")
    [(event, message)] = tell()[1:]
    assert (event.partition(":")[2][:5], message) == ("disk:", "Resolved: The disk is full.")
    assert rows(database, "SELECT * FROM open_condition") == []
    assert rows(database, "SELECT DISTINCT recipient_id FROM notification") == [(number,)]


def test_operators_are_told_of_dead_workers(
    settings: Settings, database: Database, receiver: Receiver
) -> None:
    recipient(database, receiver, conditions=True)
    fleet.report_worker(database, ALICE, ProcessState.IDLE)
    fleet.report_worker(database, BOB, ProcessState.IDLE)
    execute(database, "UPDATE worker SET seen_at = seen_at - 60 WHERE name = 'bob'")
    for _ in range(2):
        Notifier(settings, database).round()
    assert told(receiver)[0].startswith("Headwise: Worker bob on h is dead")
    assert len(told(receiver)) == 1
