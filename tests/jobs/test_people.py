"""Names are compared without regard to how they are written."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import InputError
from jobs.people import Role, Submitter, fold, submitter, user_of
from jobs.specs.submission import parse_submission

SPEC = {"model": {"name": "m"}, "data": {"path": "p", "text_columns": ["text"]}}


@pytest.mark.parametrize(
    "written",
    [
        *("ada", "ADA", "Ada", " ada ", "a\u200bda", "a\u00adda", "\ufeffada", "ada\u2060"),
        *(
            "\uff41\uff44\uff41",
            "a\u202dda",
            "a\u034fda",
            "ada\ufe0f",
            "ad\U000e0041a",
            "ada\u3164",
        ),
        *("𝐚𝐝𝐚", "a\u0000da", "ⓐⓓⓐ"),
    ],
)
def test_one_person_however_written(written: str) -> None:
    assert fold(written) == "ada"


def test_different_people_stay_different() -> None:
    names = ["ada", "adá", "ada b", "adab", "бob", "bob", "straße2", "strasse"]
    assert len({fold(name) for name in names}) == len(names)
    assert fold("Straße") == fold("STRASSE")
    assert fold("e\u0301") == fold("É")


@given(st.text())
def test_folding_twice_changes_nothing(name: str) -> None:
    once = fold(name)
    assert fold(once) == once
    assert not any(unicodedata.category(one) in ("Cf", "Cc") for one in once)


def test_a_text_that_is_too_long_for_a_name_costs_nothing() -> None:
    long = "\ufdfa" * 100_000  # each is 18 letters after NFKC
    assert fold(long) == long
    assert fold("A" + "\u200b" * 300) == "a"


def test_a_submission_has_the_folded_name() -> None:
    assert parse_submission({"spec": SPEC, "user": "A\u200bDA"}).user == "ada"
    assert parse_submission({"spec": SPEC}).user == "local"
    with pytest.raises(InputError, match="user"):
        parse_submission({"spec": SPEC, "user": "\u200b"})


def test_a_signed_in_person_submits_in_their_own_name() -> None:
    held = submitter.set(Submitter(name="Ada", for_others=False))
    try:
        assert parse_submission({"spec": SPEC}).user == "ada"
        assert parse_submission({"spec": SPEC, "user": "ADA"}).user == "ada"
        with pytest.raises(InputError, match="another user"):
            parse_submission({"spec": SPEC, "user": "bob"})
    finally:
        submitter.reset(held)
    held = submitter.set(Submitter(name="Root", for_others=True))
    try:
        assert user_of("Bob") == "bob"
        assert user_of(None) == "root"
    finally:
        submitter.reset(held)


def test_roles_have_an_order() -> None:
    assert sorted(Role, key=lambda role: role.rank) == [Role.VIEWER, Role.MEMBER, Role.ADMIN]
