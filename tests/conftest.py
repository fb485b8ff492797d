"""What holds for every test: exported networks go into a folder of the test run, not into the user's cache."""

from __future__ import annotations

import os

import pytest

from inference.export_cache import FOLDER_VARIABLE


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    before = os.environ.get(FOLDER_VARIABLE)
    os.environ[FOLDER_VARIABLE] = str(tmp_path_factory.mktemp("cache"))
    yield
    del os.environ[FOLDER_VARIABLE]
    if before is not None:
        os.environ[FOLDER_VARIABLE] = before
