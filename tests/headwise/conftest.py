"""Fixtures of the library's tests: one thread, and a model of every family."""

import pytest
import torch

from tests.helpers.classifiers import FAMILIES, tiny


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Tiny matrices gain nothing from more, and waiting threads cost a busy machine much."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=FAMILIES)
def family_model(request):
    """A double-precision model of every family in turn."""
    return tiny(request.param)
