"""What tests of several packages share; exported networks go into a folder of the test run, not the user's cache."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

from inference.engines.opened import FOLDER_VARIABLE

ROOT = Path(__file__).resolve().parents[1]
PHOTOS = ROOT / "test_code" / "samples" / "photos"
# For what is changed at random; UNCOVER_EXAMPLES=2000 tries more.
TRIED = hypothesis.settings(
    max_examples=int(os.environ.get("UNCOVER_EXAMPLES", "60")), derandomize=True, deadline=None, database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)  # fmt: skip


def python(*words: object, code: int = 0, cwd: Path = ROOT, env: dict | None = None, **options: object):
    """Runs Python on a script, `-m` MODULE or `-c` PROGRAM, which finds the project, and ends with this exit code.

    What it printed is in `.stdout` and `.stderr`; `env` is added to the environment.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, **options)
    assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def contents(folder: Path, pattern: str = "*.*") -> dict[Path, bytes]:
    """The files below a folder."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob(pattern)}


def until(reached: Callable[[], object], seconds: float = 90) -> None:
    """Waits for what other threads and processes do."""
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield


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
