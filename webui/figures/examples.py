"""The figures of an example on pages."""

from __future__ import annotations

from functools import partial

from flask import url_for

from scheduler.figures.examples import ALL, ShownExample, figures_of_example
from webui.figures.shown import ShownSentence, show_example


def show_words(shown: ShownExample, key: str = "words", **given: str) -> ShownSentence | None:
    """Its words, by the layer that was chosen; None where nothing is stored.

    given: choices that the page makes itself, here and below
    """
    return _show(shown, "words", key, head=ALL, **given)


def show_head_words(shown: ShownExample, site: int, head: int) -> ShownSentence | None:
    """Its words by what one head reads; None where that is not stored."""
    return _show(shown, "words", "head-words", site=str(site), head=str(head))


def show_arcs(shown: ShownExample, key: str = "arcs") -> ShownSentence | None:
    """Its strongest pairs; None without any."""
    return _show(shown, "arcs", key)


def show_tree(shown: ShownExample, key: str = "tree", **given: str) -> ShownSentence | None:
    """Its tree; None where the job stored none."""
    return _show(shown, "tree", key, **given)


def _show(shown: ShownExample, name: str, key: str, **given: str) -> ShownSentence | None:
    address = partial(
        url_for,
        "figure_api.get_example_figure",
        job_id=shown.job.id,
        example_no=shown.example.example,
    )
    return show_example(figures_of_example(shown), name, address, given, key=key)
