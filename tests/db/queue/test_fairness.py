"""Users get their turn: a simulated fleet on the real queue, with a clock of its own."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.fairness_fleet import SHARD, START, Claimed, Fleet, jain, simulated_clock
from db.database import Database
from db.queue import claims, fair_share, lifecycle, usage
from db.queue.ask import ANYTHING
from jobs.scheduling.fair_share import FairShare, parse_weights
from tests.helpers.databases import rows, sqlite_database
from tests.helpers.jobs import ALICE, planned_job


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[Database]:
    database = sqlite_database(tmp_path / "headwise.sqlite")
    with simulated_clock():
        yield database
        database.close()


def longest_passes(made: list[Claimed], bound: int) -> list[tuple[int, int]]:
    """Return, for every wait that reached the bound, how often the user was passed over in all, and
    how many others had then waited for as long."""
    passed: dict[str, int] = {}
    reached: dict[str, int] = {}
    found = []
    for one in made:
        for gone in passed.keys() - one.waiting:
            passed.pop(gone)
            reached.pop(gone, None)
        others = one.waiting - {one.user}
        for user in others:
            passed[user] = passed.get(user, 0) + 1
        late = {user for user in others if passed[user] >= bound}
        for user in late - reached.keys():
            reached[user] = len(late) - 1
        if one.user in reached:
            found.append((passed[one.user], reached.pop(one.user)))
        passed[one.user] = 0
    return found


def rules(ageing: int = 0, weights: str = "", half_life: float = 3600.0) -> FairShare:
    return FairShare(half_life=half_life, ageing=ageing, weights=parse_weights(weights))


def test_a_small_job_does_not_wait_for_two_large_ones(simulated: Database) -> None:
    """It waited for 206 s: whoever held no shard at that moment came first, as did their model."""
    fleet = Fleet(simulated, workers=2, load=0)
    for user in ("anna", "boris"):
        fleet.submit(user, 30)
    fleet.run(600)
    small = fleet.submit("clara", 1)
    asked = fleet.now
    fleet.run(2 * SHARD)
    assert (fleet.started(small) or 1e99) - asked <= SHARD


def test_users_with_unequal_loads_receive_alike(simulated: Database) -> None:
    """Heavy tails: a few users want most of the work, others a shard now and then."""
    draw = random.Random(5)
    fleet = Fleet(simulated, workers=6, load=0)
    heavy, light = [f"heavy {n}" for n in range(9)], [f"light {n}" for n in range(12)]
    for user in heavy:
        fleet.submit(user, min(150, int(20 * draw.paretovariate(1.1))))
    waits = []
    for _ in range(12):
        fleet.run(240)
        waits.append((fleet.submit(draw.choice(light), 1), fleet.now))
    fleet.run(600)
    within = Counter(one.user for one in fleet.claims if one.at < START + 2_880)
    assert jain([within[user] for user in heavy]) > 0.95
    assert max((fleet.started(job) or 1e99) - asked for job, asked in waits) <= SHARD
    assert fleet.switches < 0.7 * len(fleet.claims)


def test_weights_are_shares(simulated: Database) -> None:
    """Ann gets twice as much as each member of the nlp group, who get twice as much as the rest."""
    fleet = Fleet(simulated, workers=7, load=0)
    for user in ("ann", "nlp-boris", "clara"):
        fleet.submit(user, 400)
    fair_share.write(simulated, rules(weights="ann=4, nlp-*=2"))
    fleet.run(6_000)
    share = Counter(one.user for one in fleet.claims)
    assert share["ann"] / share["clara"] == pytest.approx(4, rel=0.15)
    assert share["nlp-boris"] / share["clara"] == pytest.approx(2, rel=0.15)


def test_weights_follow_the_settings(database: Database) -> None:
    job = planned_job(database, user_name="ann")
    weights = "SELECT weight FROM job"
    assert rows(database, weights) == [(1.0,)]
    fair_share.write(database, rules(weights="a*=3, ann=2"))
    assert rows(database, weights) == [(3.0,)]
    lifecycle.set_control(database, job, "cancel")
    lifecycle.sweep_jobs(database)
    fair_share.write(database, rules())
    assert rows(database, weights) == [(3.0,)]  # it has ended


def crowd(fleet: Fleet, seconds: float) -> None:
    """Newcomers who take every worker: each has computed nothing, and holds nothing."""
    for number in range(int(seconds / SHARD * 3)):
        fleet.submit(f"newcomer {len(fleet.users)} {number}", 1)
        fleet.run(SHARD / 3)


@pytest.mark.parametrize("bound", [4, 15])
def test_nobody_is_passed_over_for_longer_than_the_bound(simulated: Database, bound: int) -> None:
    """And for those alone who had waited for as long when it was reached."""
    fleet = Fleet(simulated, workers=2, load=0)
    fair_share.write(simulated, rules(ageing=bound))
    for user in ("anna", "boris", "clara"):
        fleet.submit(user, 60)
    fleet.run(1_200)
    crowd(fleet, 3_000)
    waits = longest_passes(fleet.claims, bound)
    assert len(waits) > 5
    for passed, others in waits:
        assert passed <= bound + others


def test_without_the_bound_a_crowd_of_newcomers_shuts_a_user_out(simulated: Database) -> None:
    """So the test above can fail."""
    fleet = Fleet(simulated, workers=2, load=0)
    fair_share.write(simulated, rules(ageing=0))
    for user in ("anna", "boris", "clara"):
        fleet.submit(user, 60)
    fleet.run(1_200)
    crowd(fleet, 3_000)
    late = [one for one in fleet.claims if one.at > START + 1_500 and "newcomer" not in one.user]
    assert not late


def test_a_priority_has_a_bound_of_its_own(database: Database) -> None:
    """Claims at another priority, or before a job could be claimed, pass nobody over."""
    fair_share.write(database, rules(ageing=3))
    for user, priority in (("anna", 0), ("boris", 0), ("clara", 5), ("dora", 5)):
        planned_job(database, examples=20, size=1, user_name=user, priority=priority)
    for _ in range(8):
        assert claims.claim(database, ALICE, 60.0) is not None
    counted = "SELECT priority, SUM(claims) FROM claim_count GROUP BY priority"
    assert rows(database, counted) == [(5, 8)]
    late = planned_job(database, examples=2, size=1, user_name="emil", priority=5)
    assert rows(database, f"SELECT waits_from FROM job WHERE id = {late}") == [(8,)]
    lifecycle.change_job(database, late, {"priority": 0})
    assert rows(database, f"SELECT waits_from FROM job WHERE id = {late}") == [(0,)]


def test_who_is_alone_counts_nothing(database: Database) -> None:
    """No claim is numbered while nobody waits for it: a user's row would be written by all."""
    planned_job(database, examples=4, size=1, user_name="anna")
    for _ in range(4):
        assert claims.claim(database, ALICE, 60.0, ANYTHING) is not None
    assert rows(database, "SELECT * FROM claim_count") == []


def recent(database: Database) -> dict[str, float]:
    """The seconds that count now, by user."""
    return {row["user_name"]: row["seconds"] for row in database.rows(usage.RECENT)}


@pytest.mark.parametrize("half_life", [3_600.0, 86_400.0])
def test_usage_fades(simulated: Database, half_life: float) -> None:
    fair_share.write(simulated, rules(half_life=half_life))
    fleet = Fleet(simulated, workers=1)
    fleet.submit("anna", 2)
    fleet.run(3 * SHARD)
    assert recent(simulated)["anna"] == pytest.approx(2 * SHARD, rel=0.05)
    fleet.now += half_life
    assert recent(simulated)["anna"] == pytest.approx(SHARD, rel=0.05)
    fleet.now += 2_000 * half_life  # PostgreSQL's exp() would underflow
    assert recent(simulated)["anna"] == 0
    usage.forget(simulated)
    assert recent(simulated) == {}


def test_a_heavy_user_is_not_shut_out_by_newcomers(simulated: Database) -> None:
    """A day of work does not count for a day: who holds nothing comes before who holds a shard."""
    fleet = Fleet(simulated, workers=3, load=0)
    first = fleet.submit("anna", 120)
    fleet.run(1_800)
    for user in ("boris", "clara"):
        fleet.submit(user, 60)
    before = sum(one.job == first for one in fleet.claims)
    fleet.run(1_200)
    assert sum(one.job == first for one in fleet.claims) - before >= 15
