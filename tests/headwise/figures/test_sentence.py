"""Words and arcs of an example: placed, coloured, described, and written to every format."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import sys
from collections.abc import Sequence
from xml.etree import ElementTree

import pytest

from headwise.errors import FigureError, OptionError
from headwise.figures import Source
from headwise.figures.palette import LIGHT, opacity
from headwise.figures.sentence import Pair, SentenceFigure, arcs, underlined, words
from headwise.figures.sentence.layout import Box, lay_out
from headwise.figures.sentence.measuring import shortened, text_width
from headwise.segmentation import Segmentation, Span
from headwise.sentences import Sentence, Word, words_of_spans

SVG = "{http://www.w3.org/2000/svg}"
EVIL = "<script>alert('1')</script>&\x00\ud800"


def as_words(*texts: str) -> list[Word]:
    """Words between blanks; one that begins with + is glued, one in brackets a separator."""
    parts = [(segment, part) for segment, text in enumerate(texts) for part in text.split()]
    return [
        Word(
            first=place,
            end=place + 1,
            text=part.removeprefix("+"),
            before="" if part.startswith("+") else " ",
            special=part.startswith("["),
            segment=segment,
        )
        for place, (segment, part) in enumerate(parts)
    ]


def placed(*texts: str, width: float = 300) -> tuple[Box, ...]:
    return lay_out(as_words(*texts), width, line=30, first=20).boxes


def lines(boxes: Sequence[Box]) -> list[list[str]]:
    """The words of each line, from the left to the right."""
    ordered = sorted(boxes, key=lambda box: (box.base, box.left))
    return [
        [box.text for box in line]
        for _, line in itertools.groupby(ordered, key=lambda box: box.base)
    ]


def picture(figure: SentenceFigure) -> ElementTree.Element:
    return ElementTree.fromstring(figure.svg())


def named(element: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    """The groups of a class."""
    return element.findall(f".//{SVG}g[@class='{name}']")


@pytest.fixture
def sentence() -> Sentence:
    text = as_words("[CLS] John is poor +, [SEP]", "John failed [SEP]")
    values = [9.0, 0.4, -0.2, 0.0, math.nan, 0.0, 0.1, 0.012, -0.4]
    return Sentence(words=text, values=values)


def test_lines_break_between_words_and_nothing_overlaps() -> None:
    text = "[CLS] " + "word longer +, a +- b " * 40 + "[SEP]"
    boxes = placed(text, "second text")
    for _, line in itertools.groupby(
        sorted(boxes, key=lambda box: (box.base, box.left)), key=lambda box: box.base
    ):
        for one, other in itertools.pairwise(line):
            assert one.left + one.width <= other.left + 1e-6
    assert max(box.left + box.width for box in boxes) <= 300
    assert min(box.left for box in boxes) == 0
    # A sign stays with its word, and the second text begins a line.
    assert not [line for line in lines(boxes) if line[0] in ",-"]
    assert lines(boxes)[-1] == ["second", "text"]


def test_words_without_blanks_touch() -> None:
    one, sign, other = placed("science +, but")
    assert one.left + one.width == sign.left
    assert other.left > sign.left + sign.width


def test_scripts_without_spaces_break_anywhere_but_before_signs() -> None:
    text = "日本 " + "+漢字 +、 " * 30
    found = lines(placed(text, width=100))
    assert len(found) > 10
    assert not [line for line in found if line[0] == "、"]
    assert all(sum(15 * len(word) for word in line) <= 100 for line in found)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[CLS] مرحبا بالعالم +.", [".", "بالعالم", "مرحبا", "[CLS]"]),
        ("שלום this is 2 סוף", ["סוף", "2", "this", "is", "שלום"]),
        ("the word שלום עולם here", ["the", "word", "עולם", "שלום", "here"]),
        ("[CLS] 1 2 3", ["[CLS]", "1", "2", "3"]),
    ],
)
def test_words_from_the_right_to_the_left(text: str, wanted: list[str]) -> None:
    assert lines(placed(text, width=700)) == [wanted]


def test_a_text_from_the_right_ends_at_the_right() -> None:
    boxes = lay_out(as_words("one two three four five", "שלום"), 300, line=30, first=20)
    last = boxes.boxes[-1]
    assert last.backwards
    assert last.left + last.width == pytest.approx(boxes.width)


def test_long_words_are_shortened() -> None:
    (box,) = placed("x" * 500, width=200)
    assert box.width <= 200
    assert box.text.endswith("x…")
    assert box.word.text == "x" * 500
    assert shortened("short", 200, 15) == "short"
    assert shortened("WiWiWi", 3.4, 1) == "WiWi…"
    assert shortened("WiWiWi", 0.5, 1) == "…"


def test_widths_are_those_of_arial() -> None:
    assert text_width("Wi l", 1000) == 944 + 222 + 278 + 222
    assert text_width("é", 1000) == text_width("e\u0301", 1000) == 556
    assert text_width("日", 1000) == 1000


def test_colours_are_those_of_the_signed_scale(sentence: Sentence) -> None:
    found = named(picture(words(sentence, "here")), "word")
    grounds = [word.find(f"{SVG}rect") for word in found]
    # The separator is stronger than the scale, which the words of the text make.
    wanted = [100, 100, -opacity(5), 0, 0, 0, opacity(2), 0, -100]
    assert [
        0
        if ground is None
        else round(100 * float(ground.attrib["fill-opacity"]))
        * (1 if ground.get("fill") == LIGHT.raises else -1)
        for ground in grounds
    ] == wanted
    assert [word.findtext(f"{SVG}title") for word in found][:5] == [
        *("[CLS]: +9", "John: +0.4", "is: −0.2", "poor: 0", ",: –")
    ]
    texts = [word.find(f"{SVG}text") for word in found]
    assert [None if text is None else text.get("class") for text in texts] == [
        *("separator", None, None, None, None, "separator quiet"),
        *(None, None, "separator"),
    ], "separators are grey, except on a colour"


def test_words_of_zeros_have_no_colours_and_a_scale() -> None:
    figure = words(Sentence(words=as_words("so it is"), values=[0.0] * 3), "here")
    assert picture(figure).findall(f".//{SVG}g[@class='word']/{SVG}rect") == []
    assert figure.description == "so it is."


def test_the_text_is_told_in_words(sentence: Sentence) -> None:
    figure = words(sentence, "read by any head")
    assert figure.description == (
        "John is poor, John failed. Most raise: John +0.4, John +0.1, failed +0.012. "
        "Most lower: is −0.2."
    )
    element = picture(figure)
    assert element.get("role") == "img"
    assert element.get("aria-label") == element.findtext(f"{SVG}title")
    assert element.findtext(f"{SVG}desc") == figure.description


def test_the_caption_and_the_table(sentence: Sentence) -> None:
    source = Source(
        model="m", data="d", example=3, rtol=0.01, job=5, result_hash="1234567890abcdef"
    )
    figure = words(sentence, "read by any head", "A note.", [source])
    assert figure.caption.startswith("Attribution of words read by any head. Orange words raise")
    assert figure.caption.endswith(
        "A note. Model m, data d, example 3, rtol 0.01, job 5, result 1234567890ab."
    )
    rows = list(csv.DictReader(io.StringIO(figure.csv(), newline="")))
    assert [row["word"] for row in rows] == [word.text for word in sentence.words]
    assert [float(row["attribution"]) for row in rows[:4]] == list(sentence.values[:4])
    assert [row["text"] for row in rows] == ["1"] * 6 + ["2"] * 3
    assert rows[0]["separator"] == "True"


def test_underlined_words(sentence: Sentence) -> None:
    figure = words(sentence, "here")
    found = named(picture(underlined(figure, sentence, [2])), "word")
    assert [word.find(f"{SVG}path") is not None for word in found].index(True) == 2
    assert picture(figure).findall(f".//{SVG}path") == []


def test_arcs_run_from_what_is_read_to_what_reads() -> None:
    text = as_words("[CLS] " + "word " * 40 + "end", "second")
    pairs = [
        Pair(rank=1, query=1, key=3, head="L1 H2", attribution=0.5, attention=0.9),
        Pair(rank=2, query=42, key=2, head="L0 H0", attribution=-0.25),
        Pair(rank=3, query=4, key=4, head="L0 H1", attribution=0.125),
    ]
    figure = arcs(text, pairs)
    found = named(picture(figure), "arc")
    assert [(arc.get("data-query"), arc.get("data-key")) for arc in found] == [
        *(("1", "3"), ("42", "2"), ("4", "4"))
    ]
    boxes = lay_out(text, 720 - 16, line=56, first=48).boxes
    for arc, pair in zip(found, pairs, strict=True):
        dot, key = arc.find(f"{SVG}circle"), boxes[pair.key]
        assert dot is not None
        assert abs(float(dot.attrib["cx"]) - key.middle) < 5.1
        assert float(dot.attrib["cy"]) in (pytest.approx(key.top), pytest.approx(key.bottom))
        line, arrow = arc.findall(f"{SVG}path")
        tip = float(arrow.attrib["d"].split(",")[0].removeprefix("M"))
        assert abs(tip - boxes[pair.query].middle) < 5.1
        assert line.get("stroke") == (LIGHT.raises if pair.attribution > 0 else LIGHT.lowers)
    widths = [float(arc.findall(f"{SVG}path")[0].attrib["stroke-width"]) for arc in found]
    assert widths == [4.5, 2.75, pytest.approx(1.875, abs=0.006)]
    assert found[1].findtext(f"{SVG}title") == "second reads word, L0 H0: −0.25"
    assert figure.rows[0] == {
        **{"rank": 1, "query": "word", "key": "word", "query_word": 1, "key_word": 3},
        **{"head": "L1 H2", "attribution": 0.5, "attention": 0.9},
    }


def test_pictures_for_phones_are_narrow(sentence: Sentence) -> None:
    text = as_words("[CLS] " + "word " * 60)
    values = [0.1] * len(text)
    pair = Pair(rank=1, query=1, key=50, head="L1 H2", attribution=0.5)
    for figure in (words(Sentence(words=text, values=values), "here"), arcs(text, [pair])):
        wide, narrow = (ElementTree.fromstring(one) for one in (figure.svg(), figure.narrow))
        assert float(narrow.attrib["width"]) <= 312 < float(wide.attrib["width"]) <= 720
        assert float(narrow.attrib["height"]) > float(wide.attrib["height"])


def test_texts_are_escaped() -> None:
    text = as_words("so " + EVIL.replace(" ", ""), "\u200d👨\u200d👩")
    figure = words(Sentence(words=text, values=[0.1] * len(text)), EVIL, EVIL)
    pair = Pair(rank=1, query=0, key=1, head="L1 H2", attribution=0.5)
    for one in (figure, arcs(text, [pair])):
        assert "<script" not in one.svg()
        assert "script&gt;alert" in one.svg()
        assert "👨\u200d👩" in one.svg(), "joiners belong to what they join"
        ElementTree.fromstring(one.svg().encode())
        assert "<script" not in one._repr_html_()


def test_files_and_json(sentence: Sentence, monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = Sentence(words=sentence.words, values=[*sentence.values[:4], *[0.1] * 5])
    figure = words(sentence, "here")
    assert figure.png().startswith(b"\x89PNG\r\n\x1a\n")
    assert figure.pdf().startswith(b"%PDF-")
    again = SentenceFigure.from_json(json.loads(figure.json()))
    assert (again.svg(), again.csv(), again.caption) == (figure.svg(), figure.csv(), figure.caption)
    with pytest.raises(OptionError, match="not what a figure of an example wrote"):
        SentenceFigure.from_json({"title": "x"})
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    assert "<figure><svg" in figure._repr_html_(), "an SVG needs nothing that is installed"
    with pytest.raises(FigureError, match="pip install"):
        figure.png()


def test_words_of_spans_are_as_they_were_written() -> None:
    spans = (None, Span(0, 0, 3), Span(0, 3, 4), Span(0, 4, 8), Span(0, 8, 10), None, Span(1, 0, 2))
    found = words_of_spans(
        ("[CLS]", "exa", ",", "but", "so", "[SEP]", "it"),
        Segmentation(word_index=tuple(range(7)), spans=spans),
    )
    assert [(word.text, word.glued, word.special, word.segment) for word in found] == [
        ("[CLS]", False, True, 0),
        ("exa", False, False, 0),
        (",", True, False, 0),
        ("but", False, False, 0),  # the blank is a part of its place
        ("so", True, False, 0),
        ("[SEP]", False, True, 0),
        ("it", False, False, 1),
    ]
    unknown = words_of_spans(("a", "b"), Segmentation(word_index=(0, 0, 1), spans=(None,) * 3))
    assert [(word.first, word.end, word.special) for word in unknown] == [
        *((0, 2, False), (2, 3, False))
    ]
