"""Jinja filters."""

from __future__ import annotations

from webui import filters


def test_commands_in_a_text_are_code_and_the_rest_is_escaped() -> None:
    assert filters.commands("run `headwise <up>` & <b>") == (
        "run <code>headwise &lt;up&gt;</code> &amp; &lt;b&gt;"
    )


def test_moment_is_machine_readable() -> None:
    assert 'datetime="1970-01-01T00:00:10+00:00"' in filters.moment(10.0)
    assert filters.moment(None) == "–"
