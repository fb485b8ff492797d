"""The fixture through which every golden value goes."""

import pytest

from tests.golden.recorded_values import compare


@pytest.fixture(scope="session")
def golden():
    return compare
