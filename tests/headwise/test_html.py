"""Pictures: self-contained, escaped, and with a number for every colour."""

import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from transformers import BertTokenizer

import headwise
from headwise.errors import OptionError
from tests.helpers.classifiers import random_inputs, tiny

EVIL = "<script>alert(1)</script>"


class Reader(HTMLParser):
    """Tags with their attributes, and the text; complains of tags that do not match."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.text = [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def result():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "so", "<", ">", "script", "/", "alert"]
    words += ["(", "1", ")"]
    tokenizer = BertTokenizer(vocab={token: i for i, token in enumerate(words)})
    model = tiny()
    model.config.id2label = {0: EVIL, 1: "b", 2: "c"}
    return headwise.attribute(model, tokenizer, [EVIL, f"so {EVIL}", "so", "so"], target=0)


def test_texts_and_labels_are_escaped(result):
    for html in (result._repr_html_(), result.picture(1)._repr_html_()):
        assert "<script" not in html
        assert "&lt;script&gt;" in html
        tags = {tag for tag, _ in Reader(html).tags}
        assert tags <= {
            "div", "style", "p", "strong", "table", "caption", "thead", "tbody", "tr", "th", "td",
            "figure", "figcaption", "details", "summary",
            "svg", "title", "desc", "g", "rect", "text", "path", "circle",
        }  # fmt: skip


def test_nothing_is_loaded_from_elsewhere(result, tmp_path):
    path = tmp_path / "picture.html"
    result.picture(0).save(path)
    page = path.read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    named = page.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|\bsrc=|\bhref=|url\(|@import", named)
    tags = Reader(page).tags
    assert ("html", {"lang": "en"}) in tags
    assert ("meta", {"charset": "utf-8"}) in tags


def test_every_head_has_its_number(result):
    text = " ".join(Reader(result._repr_html_()).text).replace("\u2212", "-")
    for score in result.importance().ravel():
        assert f"{score:+.3f}" in text
    cells = [a for tag, a in Reader(result._repr_html_()).tags if tag == "td" and a.get("style")]
    assert len(cells) > 12


def words_of(html):
    """Words with their values, of the picture and of the table."""
    html = html.replace("\u2212", "-")
    drawn = re.findall(r'<g class="word"[^>]*><title>(\S*?): (\S*?)</title>', html)
    rows = re.findall(r"<td>([^<]+)</td><td>(?:True|False)</td><td>([^<]+)</td></tr>", html)
    return drawn, rows


def test_words_have_what_is_attributed_to_them(result):
    totals = result.token_attribution[2].mean(0)  # over layers, as on the dashboard
    assert len(totals) == 3
    for found in words_of(result.picture(2)._repr_html_()):
        assert [word for word, _ in found] == ["[CLS]", "so", "[SEP]"]
        assert [float(number) for _, number in found] == pytest.approx(totals.tolist(), rel=6e-3)


def test_words_that_one_head_reads(result):
    html = result.picture(2, layer=1, head=3)._repr_html_()
    assert "Attribution of words read by head L1 H3" in html
    wanted = result.matrices[2][1, 3].sum(0)
    for found in words_of(html):
        assert [word for word, _ in found] == ["[CLS]", "so", "[SEP]"]
        assert [float(number) for _, number in found] == pytest.approx(wanted.tolist(), rel=6e-3)
    by_head = tuple(None if m is None else m.sum(2) for m in result.matrices)
    plain = dataclasses.replace(result, matrices=None, head_token_attribution=by_head)
    assert words_of(plain.picture(2, layer=1, head=3)._repr_html_()) == words_of(html)


def test_figures_are_those_of_the_picture(result, tmp_path):
    words = result.figure("words", 2)
    assert words.caption.endswith("Example 2.")
    assert words.svg() in result.picture(2)._repr_html_()
    assert [row["word"] for row in words.rows] == ["[CLS]", "so", "[SEP]"]
    arcs = result.figure("arcs", 2)
    assert arcs.svg() in result.picture(2)._repr_html_()
    best = result.words()[2].pairs(1)[0]
    assert (arcs.rows[0]["query_word"], arcs.rows[0]["key_word"]) == (best.query, best.key)
    assert arcs.rows[0]["attribution"] == best.value
    tokens = dataclasses.replace(result, matrices=None)
    edge = tokens.edges()[1][0]
    place = tokens.word_index[1]
    row = tokens.figure("arcs", 1).rows[0]
    assert (row["query_word"], row["key_word"]) == (place[edge.query], place[edge.key])
    assert result.figure("tree", 2).svg() == result.tree(2).to_svg()
    words.save(tmp_path / "words.pdf")
    assert (tmp_path / "words.pdf").read_bytes().startswith(b"%PDF-")
    with pytest.raises(OptionError, match="words, arcs, tree"):
        result.figure("heads", 2)


def test_heads_that_cannot_be_shown(result):
    with pytest.raises(OptionError, match="layer and head, or neither"):
        result.picture(0, layer=1)
    with pytest.raises(OptionError, match="no layer 1 with a head 4"):
        result.picture(0, layer=1, head=4)
    plain = dataclasses.replace(result, matrices=None)
    with pytest.raises(OptionError, match="head_token_attribution=True"):
        plain.picture(0, layer=1, head=0)


def test_the_strongest_pairs_are_listed(result):
    """Of words; of tokens where matrices were not kept."""
    pair = result.words()[2].pairs(1)[0]
    words = result.words()[2].texts
    row = f'<td class="text">{words[pair.query]}</td><td class="text">{words[pair.key]}</td>'
    html = result.picture(2)._repr_html_()
    assert row in html
    assert "pairs of words" in html
    plain = dataclasses.replace(result, matrices=None)
    edge = plain.edges()[2][0]
    tokens = plain.tokens[2]
    row = f'<td class="text">{tokens[edge.query]}</td><td class="text">{tokens[edge.key]}</td>'
    assert row in plain.picture(2)._repr_html_()
    assert "pairs of tokens" in plain.picture(2)._repr_html_()
    without = dataclasses.replace(plain, edge_site=plain.edge_site[:, :0])
    assert "pairs" not in without.picture(2)._repr_html_()


def test_failed_and_no_examples(result):
    model = tiny()
    model.classifier.weight.data.fill_(float("nan"))
    failed = headwise.attribute_encoded(model, random_inputs(model, [3]))
    assert "failed: the model&#x27;s output" in failed._repr_html_()
    assert "failed" in failed.picture(0)._repr_html_()
    with pytest.raises(OptionError, match="example 0 failed"):
        failed.figure("words", 0)
    none = headwise.attribute_encoded(tiny(), [])
    assert "0 examples" in none._repr_html_()
    with pytest.raises(OptionError, match="no example 4"):
        result.picture(4)
    assert result.picture(-1).title == result.picture(3).title


def test_negative_and_missing_numbers_have_their_own_look():
    model = tiny()
    result = headwise.attribute_encoded(model, random_inputs(model, [5]), output="logit")
    result.scores[0, 0, 0], result.scores[0, 0, 1] = np.nan, -0.25
    html = result.picture(0)._repr_html_()
    assert "&ndash;" in html
    assert re.search(r'style="background: rgba\(88, 152, 240[^"]*">&minus;0.250<', html)
