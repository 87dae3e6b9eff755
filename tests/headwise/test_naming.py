"""Names of heads."""

from __future__ import annotations

import pytest

from headwise.naming import head_name, read_head_name


@pytest.mark.parametrize("place", [(3, 7, "encoder"), (0, 11, "cross"), (12, 0, "decoder")])
def test_a_name_is_read_as_it_is_written(place: tuple[int, int, str]) -> None:
    assert read_head_name(head_name(*place)) == place
    assert read_head_name(f" {head_name(*place).replace(' ', '  ')} ") == place


@pytest.mark.parametrize("name", ["", "L3", "H7", "L3H7", "L-1 H0", "L3 H7 H8", "3.7", "L٣ H7"])
def test_what_is_no_name_of_a_head(name: str) -> None:
    assert read_head_name(name) is None
