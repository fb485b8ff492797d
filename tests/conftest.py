"""What tests of several packages share; exported networks go into a folder of the test run, not the user's cache."""

from __future__ import annotations

import os
import signal

import pytest

from inference.engines.opened import FOLDER_VARIABLE


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    before = os.environ.get(FOLDER_VARIABLE)
    os.environ[FOLDER_VARIABLE] = str(tmp_path_factory.mktemp("cache"))
    yield
    del os.environ[FOLDER_VARIABLE]
    if before is not None:
        os.environ[FOLDER_VARIABLE] = before


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard():
    """A shell that starts the tests in the background has them ignore SIGINT, and what they start as well."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def pretend_gpu(monkeypatch):
    """A CUDA build of Paddle with one GPU; computing goes on on the CPU. Returns the list of chosen devices."""
    import paddle

    chosen = ["cpu"]
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(paddle.device, "set_device", chosen.append)
    return chosen
