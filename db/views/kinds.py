"""The published views of importance and pruning jobs, together with those of attack jobs."""

from __future__ import annotations

from db.views.attack import ATTACK_VIEWS
from db.views.parts import EXAMPLE, HEAD, JOB, View

KIND_VIEWS: tuple[View, ...] = (
    View(
        name="importances",
        meaning="One row per head and ranking source of a finished job: its rankings.",
        source="ranking i JOIN site s ON s.job_id = i.job_id AND s.site = i.site",
        fields=(
            JOB,
            (
                "source",
                "text",
                "attattr (mean score), attattr-total, attattr-absolute-total, attention, taylor, "
                "leave-one-out-loss, leave-one-out-accuracy or embedding-gradient.",
            ),
            *HEAD,
            ("n", "integer", "Examples counted."),
            ("mean", "real", "Importance: a mean over the examples."),
            ("standard_error", "real", "Standard error of the mean."),
            ("rank", "integer", "1 is the most important head of the source."),
            (
                "rank_low",
                "integer",
                "Lower end of the rank's 95 % bootstrap interval; null in older jobs.",
            ),
            ("rank_high", "integer", "Upper end of that interval."),
        ),
    ),
    View(
        name="head_values",
        meaning="One row per example, head and source of an importance job.",
        source="head_value v JOIN site s ON s.job_id = v.job_id AND s.site = v.site",
        fields=(
            JOB,
            ("source", "text", "As in importances."),
            EXAMPLE,
            *HEAD,
            (
                "value",
                "real",
                "taylor: absolute sum of A * dL/dA; leave-one-out: increase of the loss, or "
                "decrease of the accuracy, without the head.",
            ),
        ),
    ),
    View(
        name="pruning_points",
        meaning="One row per point of a pruning job's curves.",
        source="curve_point p JOIN mask m ON m.job_id = p.job_id AND m.mask_no = p.mask_no "
        "LEFT JOIN mask_result r ON r.job_id = p.job_id AND r.mask_no = p.mask_no",
        fields=(
            JOB,
            ("point", "integer", "Point within the job, from 0.", "point_no"),
            ("source_number", "integer", "Which of the job's sources, from 0.", "source_no"),
            ("source", "text", "Ranking source, as in importances; or random."),
            ("draw", "integer", "Draw of a random order, from 0."),
            ("direction", "text", "least or most: which heads are removed first; any for random."),
            (
                "scope",
                "text",
                "global; layer: as many in each layer; notebook; choice: every number of heads.",
            ),
            ("share", "real", "Share of the heads that are removed."),
            ("removed", "integer", "Heads that are removed."),
            ("mask", "integer", "Mask within the job; equal masks are computed once.", "mask_no"),
            ("heads_removed", "text", "The removed heads, a JSON list of [site, head].", "m.heads"),
            ("n", "integer", "Examples evaluated.", "r.n"),
            *(
                (f"{name}{end}", "real", f"{which}{words}.", f"r.{name}{end}")
                for name, words in (
                    ("accuracy", "accuracy"),
                    ("macro_f1", "macro F1"),
                    ("loss", "mean cross-entropy"),
                )
                for end, which in (
                    ("", "With those heads removed: "),
                    ("_low", "Lower end of the 95 % interval of the "),
                    ("_high", "Upper end of the 95 % interval of the "),
                )
            ),
        ),
    ),
    View(
        name="pruning_choices",
        meaning="One row per pruning job: its examples, and the most heads to remove (`within`).",
        source="pruning c LEFT JOIN mask m ON m.job_id = c.job_id AND m.mask_no = c.chosen_mask",
        fields=(
            JOB,
            ("given", "integer", "Examples that the job was given."),
            ("overlap", "integer", "Those of them that the heads were ranked on."),
            ("mask", "integer", "Chosen mask, see pruning_points; null if none.", "chosen_mask"),
            ("removed", "integer", "Heads that it removes.", "m.removed"),
            *(
                (f"{half}_{name}", "integer" if name == "n" else "real", words)
                for half, which in (("search", "chosen"), ("held_out", "verified"))
                for name, words in (
                    ("n", f"Examples that it was {which} on."),
                    ("whole", "Accuracy of the whole model on them."),
                    ("accuracy", "Accuracy without those heads on them."),
                    ("low", "Lower end of its 95 % interval."),
                    ("high", "Upper end of that interval."),
                )
            ),
            (
                "verified",
                "boolean",
                "Whether the loss of accuracy is also within the limit on the held-out half.",
            ),
        ),
    ),
    *ATTACK_VIEWS,
)
