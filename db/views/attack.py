"""The published views of attack jobs."""

from __future__ import annotations

from db.views.parts import EXAMPLE, JOB, Field, View, shown

_TRIGGER = ("trigger", "integer", "Trigger within the job, from 0.", "trigger_no")
_MODEL = ("model", "integer", "0 is the job's own model; others follow.", "model_no")
_KIND = ("kind", "text", "mined, given, or a control: random or attention.", "t.kind")
_TEXT = ("text", "text", "The trigger in one line, with a bar between two texts.", "t.text")


def _rate(name: str, words: str) -> tuple[Field, ...]:
    return (
        (name, "real", f"{words}."),
        (f"{name}_low", "real", "Lower end of its 95 % interval (Wilson)."),
        (f"{name}_high", "real", "Upper end of that interval."),
    )


ATTACK_VIEWS: tuple[View, ...] = (
    View(
        name="triggers",
        meaning="One row per trigger of an attack job.",
        source="attack_trigger t",
        fields=(
            JOB,
            _TRIGGER,
            _KIND,
            ("control_of", "integer", "The mined trigger that it is a control of."),
            ("label", "integer", "Label that it was mined for, an index."),
            _TEXT,
            ("parts", "text", "Its tokens, a JSON list of [token, text, relative position, word]."),
            ("support", "integer", "Examples that it was found in."),
            ("strength", "real", "Sum of its attributions in the example where it is strongest."),
            ("origin_job", "integer", "Job that it was mined from."),
            ("origin_example", "integer", "Example where it is strongest."),
        ),
    ),
    View(
        name="trigger_sources",
        meaning="One row per mined trigger and example that it was found in.",
        source="trigger_source o",
        fields=(
            JOB,
            _TRIGGER,
            ("source", "integer", "0 is the strongest.", "source_no"),
            ("origin_job", "integer", "Job that it was mined from."),
            ("origin_example", "integer", "Example of that job."),
            ("score", "real", "Sum of the cells' attributions."),
            ("cells", "text", "A JSON list of cells: layer, kind, head, query, key, value."),
            ("positions", "text", "Positions of its tokens there, a JSON list."),
        ),
    ),
    View(
        name="trigger_results",
        meaning="One row per trigger, model and gold class of a finished attack job.",
        source="trigger_result r "
        "JOIN attack_trigger t ON t.job_id = r.job_id AND t.trigger_no = r.trigger_no",
        fields=(
            JOB,
            _TRIGGER,
            _KIND,
            ("label", "integer", "Label that it was mined for, an index.", "t.label"),
            _TEXT,
            _MODEL,
            ("gold", "integer", "Gold label of the examples, an index."),
            ("n", "integer", "Examples that it was inserted into."),
            ("before_correct", "integer", "Predicted correctly without it."),
            ("after_correct", "integer", "Predicted correctly with it."),
            ("flipped", "integer", "Predicted correctly without it and wrongly with it."),
            (
                "flips",
                "text",
                "Flipped examples by the label predicted with it, a JSON list.",
                "after",
            ),
            *_rate("accuracy_before", "Accuracy without it"),
            *_rate("accuracy_after", "Accuracy with it"),
            *_rate("success", "flipped / before_correct; null where that is 0"),
            (
                "rank",
                "integer",
                "Rank by success among the triggers of its kind with that model and class.",
            ),
        ),
    ),
    View(
        name="trigger_outcomes",
        meaning="One row per trigger, model and example that it was inserted into.",
        source=f"trigger_outcome u {shown('u')}",
        fields=(
            JOB,
            _TRIGGER,
            _MODEL,
            EXAMPLE,
            ("predicted", "integer", "Label predicted with it, an index."),
            ("probabilities", "text", "Probabilities with it, a JSON list."),
        ),
    ),
)
