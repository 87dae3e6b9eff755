"""Two people in two browsers share one dashboard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from db.accounts import accounts
from tests.browser.chromium import chromium
from tests.browser.page import Page
from tests.webui.accounts.people import PASSWORD, Lab, open_lab

pytestmark = pytest.mark.browser


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A dashboard in a process of its own, with an administrator and two members."""
    with open_lab(tmp_path / "home") as lab:
        lab.add("Root", "admin")
        lab.add("Ada")
        lab.add("Grace")
        yield lab


@pytest.fixture
def people(lab: Lab, tmp_path: Path) -> Iterator[tuple[Page, Page]]:
    """The browsers of Ada and of Grace, each signed in."""
    with ExitStack() as stack:
        pages = [
            Page(stack.enter_context(chromium(tmp_path / name)), lab.address)
            for name in ("ada", "grace")
        ]
        for page, name in zip(pages, ("Ada", "Grace"), strict=True):
            page.open("/studies")
            sign_in(page, name)
            page.until(lambda page=page: page.driver.current_url.endswith("/studies"))
        yield pages[0], pages[1]


def sign_in(page: Page, name: str) -> None:
    """Fill in the form of the sign-in page."""
    page.one("input[name=name]").send_keys(name)
    page.one("input[name=password]").send_keys(PASSWORD)
    page.click("main form button")


def test_one_sees_the_others_job_and_may_change_it_once_the_role_allows(
    lab: Lab, people: tuple[Page, Page]
) -> None:
    ada, grace = people
    job = lab.job("ada")
    delete = f"form[action='/jobs/{job}/delete']"
    for page in people:
        page.open("/")
        assert f"of ada #{job}" in page.one("#list").text.replace("\n", " ")
        page.open(f"/jobs/{job}")
        assert "of ada" in page.one("h1").text
    assert ada.count(delete) == 1
    assert grace.count(delete) == 0
    # Whoever sends it all the same is refused, in words.
    grace.script(
        "const form = document.createElement('form'); form.method = 'post';"
        "form.action = arguments[0]; document.body.append(form); form.submit()",
        f"/jobs/{job}/delete",
    )
    grace.until(lambda: "403 Forbidden" in grace.one("main").text)
    assert f"Job {job} belongs to ada" in grace.one("main").text
    administrator = lab.signed_in("Root")
    number = accounts.get(lab.database, "grace").id
    changed = administrator.post(f"/accounts/{number}/role", data={"role": "admin"})
    assert changed.status_code == 303
    grace.open(f"/jobs/{job}")
    grace.click("details.confirm:has(form[action$='/delete']) summary")
    grace.click(f"{delete} button")
    grace.until(lambda: grace.driver.current_url == f"{lab.address}/")
    assert grace.count(f"a[href='/jobs/{job}']") == 0
    ada.open("/")
    assert ada.count(f"a[href='/jobs/{job}']") == 0
    for page in people:
        refused = [said for said in page.complaints() if "403" not in said]
        assert refused == []


def test_who_was_signed_out_elsewhere_is_led_to_the_sign_in_and_back(
    lab: Lab, people: tuple[Page, Page]
) -> None:
    ada, _ = people
    ada.open("/account")
    ada.click("form[action='/account/sign-out-everywhere'] button")
    ada.one("input[name=password]")
    ada.open("/studies")
    sign_in(ada, "ADA")
    ada.until(lambda: ada.driver.current_url.endswith("/studies"))
    assert ada.one(".person").text == "Ada"
