"""The attribution of words over all layers."""

from __future__ import annotations

import math

from headwise.sentences import mean_over_layers


def test_over_all_layers_attribution_is_the_mean() -> None:
    """Every layer's adds up to the change of the output, 0.75: so does their mean."""
    by_site = [[0.5, 0.25, 0.0], [0.125, 0.125, 0.5]]
    assert mean_over_layers(by_site) == [0.3125, 0.1875, 0.25]
    assert sum(mean_over_layers(by_site)) == 0.75


def test_a_layer_without_a_token_counts_as_zero() -> None:
    assert mean_over_layers([[1.0, math.nan], [0.5, 0.5]]) == [0.75, 0.25]
