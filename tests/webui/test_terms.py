"""Terms on the pages: their definitions are those of docs/reference/glossary.md."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobs.settings import load_settings
from tests.helpers.apps import new_app
from webui.terms import glossary, term

ROOT = Path(__file__).parents[2]


def test_help_has_every_term_of_the_glossary(empty: SimpleNamespace) -> None:
    page = unescape(empty.client.get("/help").text)
    rows = re.findall(
        r"^\| ([^|`]+) \| (.+) \|$", (ROOT / "docs/reference/glossary.md").read_text(), re.M
    )
    names = [name for name, _ in rows if name not in ("term", "---")]
    assert len(names) > 70
    assert names == [one.name for terms in glossary().values() for one in terms]
    anchors = re.findall(r'<dt id="(term-[a-z0-9-]+)">([^<]+)</dt>', page)
    assert [name for _, name in anchors] == names
    assert len({anchor for anchor, _ in anchors}) == len(names)
    glossary_part = page[page.index('id="glossary"') :]
    assert "`" not in glossary_part
    assert "](" not in glossary_part


def test_words_of_a_page_link_to_their_meaning(tmp_path: Path) -> None:
    app = new_app(load_settings({}, home=tmp_path))
    with app.test_request_context():
        link = term("Losses", "loss")
        assert link.startswith('<a class="term" href="/help#term-loss" title="a lease that expired')
        assert link.endswith(">Losses</a>")
        assert "&lt;b&gt;" in term("<b>", "shard")
        with pytest.raises(KeyError):
            term("Losing")


def test_every_term_that_a_template_uses_is_in_the_glossary() -> None:
    known = {one.name for terms in glossary().values() for one in terms}
    used = set()
    for file in (ROOT / "webui/templates").glob("*.html"):
        for words, name in re.findall(
            r"'([^']+)'(?:\))?\|term(?:\('([^']+)'\))?", file.read_text()
        ):
            used.add(name or words.lower())
    assert len(used) > 15
    assert used <= known


@pytest.mark.parametrize("name", ["job", "study", "compare", "worker"])
def test_pages_about_jobs_and_workers_link_their_terms(name: str) -> None:
    text = (ROOT / f"webui/templates/{name}.html").read_text()
    assert len(set(re.findall(r"'([^']+)'(?:\))?\|term", text))) >= 4
