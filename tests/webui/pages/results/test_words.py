"""Words on pages: as they were written, whatever tokenizer divided them, and their colours."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from flask.testing import FlaskClient
from sqlalchemy import insert, update

from db import schema
from db.database import Database
from db.results.words import to_columns
from headwise.figures.palette import LEVELS
from headwise.segmentation import Segmentation
from headwise.sentences import Word, by_word, read_pieces, read_words, word_at
from jobs.results.head_tokens import pack
from tests.helpers.tokenizers import byte_fallback, byte_level, encoded, unigram, word_piece
from webui.filters import level

SVG = "{http://www.w3.org/2000/svg}"
TOKENIZERS = {
    "WordPiece": word_piece("un", "##believ", "##able", "so", "cafe"),
    "byte-level BPE": byte_level(("c", "a"), ("ca", "f")),
    "byte fallback": byte_fallback("c", "a", "f", "so"),
    "Unigram": unigram("▁un", "believ", "able", "日本", "語", "สวัสดี", "ครับ", "caf"),
}


def stored(name: str, *texts: str) -> tuple[tuple[str, ...], Segmentation]:
    """An example's tokens and words, as a job stores them."""
    found = encoded(TOKENIZERS[name], *texts)
    return found.tokens, found.words


def place(database: Database, seeding: SimpleNamespace, name: str, *texts: str) -> str:
    """The address of an example that was tokenized like that."""
    tokens, words = stored(name, *texts)
    job = seeding.seed_job(database, layers=1, heads=2, examples=1)
    e, r, t = schema.example.c, schema.example_result.c, schema.edge.c
    values: Mapping[str, Any] = {
        "tokens": json.dumps(tokens),
        "token_attribution": json.dumps([[0.1] * len(tokens)]),
        "head_token_attribution": None,
        **to_columns(words),
    }
    pair = dict(zip(("text_a", "text_b"), (*texts, None), strict=False))
    with database.write() as tx:
        tx.execute(update(schema.example).where(e.job_id == job).values(**pair))
        tx.execute(update(schema.example_result).where(r.job_id == job).values(**values))
        tx.execute(schema.edge.delete().where(t.job_id == job))
        for rank in range(1, len(tokens) + 1):
            tx.execute(
                insert(schema.edge).values(
                    job_id=job,
                    example_no=0,
                    rank=rank,
                    site=0,
                    head=0,
                    query=rank - 1,
                    key=rank - 1,
                    attribution=0.1,
                    attention=0.5,
                )
            )
    return f"/jobs/{job}/examples/0"


def picture(page: str, key: str) -> ElementTree.Element:
    """The wide picture of a figure of a page."""
    figure = page[page.index(f'id="figure-{key}"') :]
    return ElementTree.fromstring(re.findall(r"<svg .*?</svg>", figure, re.DOTALL)[0])


def drawn(page: str, key: str) -> list[tuple[str, int]]:
    """The words of a figure, each with the opacity of its colour, below zero for blue."""
    found = []
    for word in picture(page, key).iterfind(f".//{SVG}g[@class='word']"):
        grounds = word.findall(f"{SVG}rect")
        opacity = sum(round(100 * float(one.get("fill-opacity", 0))) for one in grounds)
        sign = -1 if grounds and grounds[0].get("class") == "lowers-fill" else 1
        found.append((word.findtext(f"{SVG}text", ""), sign * opacity))
    return found


def separators(page: str, key: str) -> list[str]:
    """The separators of a figure; outlines below the letters are not read."""
    texts = picture(page, key).iterfind(f".//{SVG}g[@class='word']/{SVG}text")
    read = [one for one in texts if one.get("aria-hidden") is None]
    return [one.text or "" for one in read if "separator" in one.get("class", "")]


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("WordPiece", "A Café, unbelievable!", ["A", "Café", ",", "unbelievable", "!"]),
        ("WordPiece", "So 😀 GOOD", ["So", "😀", "GOOD"]),
        ("byte-level BPE", "A Café", ["A", "Café"]),
        ("byte-level BPE", "日本 語", ["日", "本", "語"]),
        ("byte-level BPE", "हिन्दी में", ["हिन्दी", "में"]),
        ("byte fallback", "Café 日本", ["Café", "日", "本"]),
        ("byte fallback", "So 😀❤️ GOOD", ["So", "😀❤️", "GOOD"]),
        ("Unigram", "日本語", ["日本", "語"]),
        ("Unigram", "สวัสดีครับ", ["สวัสดี", "ครับ"]),
        ("Unigram", "مرحبا بالعالم", ["مرحبا", "بالعالم"]),
        ("Unigram", "<b>un</b>  &amp", ["<b>un</b>", "&amp"]),
    ],
)
def test_the_page_shows_the_text_as_it_was_written(
    client: FlaskClient,
    database: Database,
    seeding: SimpleNamespace,
    name: str,
    text: str,
    wanted: list[str],
) -> None:
    page = client.get(place(database, seeding, name, text, f"{text} {text}")).text
    both = f"{text} {text} {text}"
    for key in ("words", "arcs"):
        words = [word for word, _ in drawn(page, key)]
        assert [word for word in words if word not in ("[CLS]", "[SEP]")] == wanted * 3
        assert separators(page, key) == ["[CLS]", "[SEP]", "[SEP]"]
        said = picture(page, key).findtext(f"{SVG}desc", "")
        assert said.startswith(" ".join(both.split()) + "."), "with the blanks of the text"


def test_token_pairs_and_tree_show_what_was_written(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    address = place(database, seeding, "byte-level BPE", "Café")
    page = client.get(address).text
    table = page[page.index('class="dense pairs"') :].split("</table>")[0]
    shown = re.findall(r'<code class="token" dir="auto">(.*?)</code>', table)
    rest = ('<span class="muted">{}</span>'.format, str)
    wanted = ["[CLS]", *("C" + rest[0]("afé"), rest[0]("C") + "a" + rest[0]("fé"))]
    assert shown[:6:2] == wanted
    assert rest[0]("Caf") + "é" in shown
    assert "Ã" not in page


def test_a_chosen_head_colours_the_words(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    address = place(database, seeding, "byte-level BPE", "Café so")
    page = client.get(address).text
    assert "figure-head-words" not in page, "it is a result from before"
    by_head = np.zeros((1, 2, 10), dtype=np.float32)
    by_head[0, 1] = [9, 0.1, 0, 0, 0.1, 0.1, -0.4, -0.2, 0, 0]
    with database.write() as tx:
        values = {"head_token_attribution": pack(by_head)}
        tx.execute(update(schema.example_result).values(**values))
    page = client.get(f"{address}?at=0.1").text
    assert drawn(page, "head-words") == [("[CLS]", 100), ("Café", 46), ("so", -100), ("[SEP]", 0)]
    page = client.get(f"{address}?at=0.0&site=0").text
    assert {opacity for _, opacity in drawn(page, "head-words")} == {0}
    assert f'href="{address}?at=0.1&amp;site=0#grid"' in page, "heads can be chosen without scripts"


def test_results_from_before_words_were_stored(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    address = place(database, seeding, "WordPiece", "Unbelievable", "so")
    unknown = {"word_index": None, "token_spans": None}
    with database.write() as tx:
        tx.execute(update(schema.example_result).values(**unknown))
    words = drawn(client.get(address).text, "words")
    tokens = ["[CLS]", "un", "##believ", "##able", "[SEP]", "so", "[SEP]"]
    assert words == [(token, 100) for token in tokens]


def test_texts_that_are_not_kept_are_positions(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    job = seeding.seed_job(database, keep_text=False)
    words = drawn(client.get(f"/jobs/{job}/examples/0").text, "words")
    assert [word for word, _ in words][:3] == ["#0", "#1", "#2"]


def test_the_api_has_the_words(
    client: FlaskClient, database: Database, seeding: SimpleNamespace
) -> None:
    address = place(database, seeding, "byte-level BPE", "caf é", "so")
    answer = client.get(f"/api/v1{address}").json
    assert answer["tokens"] == ["[CLS]", "caf", "Ġ", "Ã", "©", "[SEP]", "s", "o", "[SEP]"]
    assert answer["word_index"] == [0, 1, 2, 2, 2, 3, 4, 4, 5]
    assert answer["token_spans"] == [
        *(None, [0, 0, 3], [0, 3, 4], [0, 4, 5], [0, 4, 5], None, [1, 0, 1], [1, 1, 2], None)
    ]


def test_words_and_what_is_between_them() -> None:
    tokens, words = stored("WordPiece", "\t(so  Café)", "so")
    read_ = read_words(tokens, ("\t(so  Café)", "so"), words)
    assert [(word.before, word.text, word.segment) for word in read_] == [
        *((" ", "[CLS]", 0), ("\t", "(", 0), ("", "so", 0), ("  ", "Café", 0), ("", ")", 0)),
        *((" ", "[SEP]", 0), (" ", "so", 1), (" ", "[SEP]", 1)),
    ]
    assert [(word.first, word.end) for word in read_] == [(i, i + 1) for i in range(8)]
    assert [word.glued for word in read_].count(True) == 2


def test_pieces_of_a_word_that_was_cut_between_bytes() -> None:
    tokens, words = stored("byte-level BPE", " né")
    assert [tuple(piece) for piece in read_pieces(tokens, (" né",), words)] == [
        *(("[CLS]", "", ""), ("␣", "", "né"), ("n", "", "é"), ("é", "n", ""), ("é", "n", "")),
        ("[SEP]", "", ""),
    ]


def test_separators_do_not_set_the_scale() -> None:
    tokens, words = stored("WordPiece", "so un")
    read_ = read_words(tokens, ("so un",), words)
    assert by_word(read_, [9.0, 0.5, -2.0, 0.0]).scale == 2.0
    assert by_word(read_[:1], [9.0]).scale == 9.0


def test_values_of_words_are_sums_by_text() -> None:
    tokens, words = stored("WordPiece", "unbelievable so", "so")
    sentence = by_word(read_words(tokens, ("unbelievable so", "so"), words), list(range(8)))
    assert sentence.values == [0, 1 + 2 + 3, 4, 5, 6, 7]
    assert [word.segment for word in sentence.words] == [0, 0, 0, 0, 1, 1]
    assert by_word(sentence.words, []).values == [0] * 6


def test_the_word_of_a_token() -> None:
    two = [Word(first=0, end=2, text="a"), Word(first=2, end=3, text="b")]
    assert [word_at(two, position) for position in range(4)] == [0, 0, 1, None]


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(0.0, "z"), (1.0, "p10"), (-1.0, "n10"), (5.0, "p10"), (0.26, "p3"), (0.04, "z")],
)
def test_level(value: float, wanted: str) -> None:
    assert level(value, 1.0) == wanted
    assert level(value, 0.0) == "z"
    assert LEVELS == 10
