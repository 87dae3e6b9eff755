"""One forge for all tests of the folder: it imports torch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.forge import Forge


@pytest.fixture(scope="package")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    forge = Forge(tmp_path_factory.mktemp("forge"))
    yield forge
    forge.close()
