"""The sources of rankings: the measures of importance that heads are ranked by."""

from __future__ import annotations

SOURCES = {
    "attattr": ("AttAttr", "mean of the attribution's largest cell"),
    "attattr-total": ("AttAttr, total", "mean of the attribution's sum, with sign"),
    "attattr-absolute-total": ("AttAttr, absolute total", "mean of |sum of the attribution|"),
    "attention": ("Attention", "mean of the largest attention probability"),
    "taylor": ("Taylor", "mean of |sum of attention × gradient of the loss|"),
    "leave-one-out-loss": ("Loss without it", "what the loss gains without the head"),
    "leave-one-out-accuracy": ("Accuracy lost", "what the accuracy loses without the head"),
}
"""Title and meaning, by the name that specifications and views use."""
