"""The published views of attack jobs."""

from __future__ import annotations

from db.views.parts import EXAMPLE, JOB, View, columns, of, shown

_TRIGGER = ("trigger", "{0}.trigger_no", "integer", "Trigger within the job, from 0.")
_MODEL = ("model", "{0}.model_no", "integer", "0 is the job's own model; others follow.")
_KIND = ("kind", "t.kind", "text", "mined, given, or a control: random or attention.")
_TEXT = ("text", "t.text", "text", "The trigger in one line, with a bar between two texts.")


def _rate(name: str, words: str) -> tuple[tuple[str, str, str, str], ...]:
    return (
        (name, f"r.{name}", "real", f"{words}."),
        (f"{name}_low", f"r.{name}_low", "real", "Lower end of its 95 % interval (Wilson)."),
        (f"{name}_high", f"r.{name}_high", "real", "Upper end of that interval."),
    )


ATTACK_VIEWS: tuple[View, ...] = (
    View(
        name="triggers",
        meaning="One row per trigger of an attack job.",
        source="attack_trigger t",
        columns=columns(
            *of("t", JOB, _TRIGGER),
            _KIND,
            ("control_of", "t.control_of", "integer", "The mined trigger that it is a control of."),
            ("label", "t.label", "integer", "Label that it was mined for, an index."),
            _TEXT,
            (
                "parts",
                "t.parts",
                "text",
                "Its tokens, a JSON list of [token, text, relative position, word].",
            ),
            ("support", "t.support", "integer", "Examples that it was found in."),
            (
                "strength",
                "t.strength",
                "real",
                "Sum of its attributions in the example where it is strongest.",
            ),
            ("origin_job", "t.origin_job", "integer", "Job that it was mined from."),
            ("origin_example", "t.origin_example", "integer", "Example where it is strongest."),
        ),
    ),
    View(
        name="trigger_sources",
        meaning="One row per mined trigger and example that it was found in.",
        source="trigger_source o",
        columns=columns(
            *of("o", JOB, _TRIGGER),
            ("source", "o.source_no", "integer", "0 is the strongest."),
            ("origin_job", "o.origin_job", "integer", "Job that it was mined from."),
            ("origin_example", "o.origin_example", "integer", "Example of that job."),
            ("score", "o.score", "real", "Sum of the cells' attributions."),
            (
                "cells",
                "o.cells",
                "text",
                "A JSON list of cells: layer, kind, head, query, key, value.",
            ),
            ("positions", "o.positions", "text", "Positions of its tokens there, a JSON list."),
        ),
    ),
    View(
        name="trigger_results",
        meaning="One row per trigger, model and gold class of a finished attack job.",
        source="trigger_result r "
        "JOIN attack_trigger t ON t.job_id = r.job_id AND t.trigger_no = r.trigger_no",
        columns=columns(
            *of("r", JOB, _TRIGGER),
            _KIND,
            ("label", "t.label", "integer", "Label that it was mined for, an index."),
            _TEXT,
            *of("r", _MODEL),
            ("gold", "r.gold", "integer", "Gold label of the examples, an index."),
            ("n", "r.n", "integer", "Examples that it was inserted into."),
            ("before_correct", "r.before_correct", "integer", "Predicted correctly without it."),
            ("after_correct", "r.after_correct", "integer", "Predicted correctly with it."),
            (
                "flipped",
                "r.flipped",
                "integer",
                "Predicted correctly without it and wrongly with it.",
            ),
            (
                "flips",
                "r.after",
                "text",
                "Flipped examples by the label predicted with it, a JSON list.",
            ),
            *_rate("accuracy_before", "Accuracy without it"),
            *_rate("accuracy_after", "Accuracy with it"),
            *_rate("success", "flipped / before_correct; null where that is 0"),
            (
                "rank",
                "r.rank",
                "integer",
                "Rank by success among the triggers of its kind with that model and class.",
            ),
        ),
    ),
    View(
        name="trigger_outcomes",
        meaning="One row per trigger, model and example that it was inserted into.",
        source=f"trigger_outcome u {shown('u')}",
        columns=columns(
            *of("u", JOB, _TRIGGER, _MODEL, EXAMPLE),
            ("predicted", "u.predicted", "integer", "Label predicted with it, an index."),
            ("probabilities", "u.probabilities", "text", "Probabilities with it, a JSON list."),
        ),
    ),
)
