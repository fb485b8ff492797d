"""One question to a process of its own, where an engine may crash, and where memory and threads are its own.

`ask` runs a function of this project in a fresh process; order and answer are JSON in files, so that nothing that
libraries print gets between them. `run_child` runs any command and measures it. Both tell a child's last words when it
fails.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.files import write_text

_ROOT = Path(__file__).resolve().parent.parent
# Nothing that is worth waiting for takes longer.
_LIMIT_SECONDS = 3600.0


class ChildError(RuntimeError):
    """A child process failed; the message says how it ended and what it wrote last.

    Args:
        ending: how it ended, in words.
        words: everything that it wrote.
    """

    def __init__(self, ending: str, words: str) -> None:
        self.ending, self.words = ending, words
        lines = [line.strip() for line in words.splitlines() if line.strip()]
        super().__init__(f"{ending}: {lines[-1]}" if lines else ending)


@dataclass(frozen=True)
class Ended:
    """A child process that ended well: how long it ran, its peak resident memory in 10^9 bytes, what it wrote."""

    seconds: float
    memory_gb: float
    words: str


def run_child(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], limit_seconds: float = _LIMIT_SECONDS
) -> Ended:
    """Runs a command in `folder` to its end.

    Raises:
        ChildError: it ended with another exit code than 0, by a signal, or not within `limit_seconds`.
        OSError: it cannot be started.
    """
    start = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        overdue = threading.Event()
        timer = threading.Timer(limit_seconds, lambda: (overdue.set(), process.kill()))
        timer.start()
        try:
            # wait4 tells the use of this very process; getrusage would mix it with every earlier one.
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            timer.cancel()
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        words = output.read().decode("utf-8", errors="replace")
    if overdue.is_set():
        raise ChildError(f"not finished after {limit_seconds:g} s", words)
    if process.returncode < 0:
        raise ChildError(f"ended by {signal.Signals(-process.returncode).name}", words)
    if process.returncode:
        raise ChildError(f"ended with code {process.returncode}", words)
    unit = 1 if sys.platform == "darwin" else 1024
    return Ended(seconds, usage.ru_maxrss * unit / 1e9, words)


def ask(function: str, order: Any, **environment: str) -> Any:
    """What a function makes of `order`, computed in a process of its own.

    Args:
        function: "package.module:name" of a function of one argument.
        order: a JSON value, as the answer is.
        environment: variables that are set for the child beside those of this process.

    Raises:
        ChildError: the function raised (the message is the last line of the traceback), or its process was ended.
    """
    with tempfile.TemporaryDirectory(prefix="uncover-") as name:
        folder = Path(name)
        write_text(folder / "order.json", json.dumps(order))
        # Found wherever this process was started.
        paths = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "utils.child", function, "order.json", "answer.json"]
        run_child(command, folder, {**os.environ, "PYTHONPATH": paths, **environment})
        return json.loads((folder / "answer.json").read_text("utf-8"))


def _answer(function: str, order: str, answer: str) -> None:
    module, _, name = function.partition(":")
    result = getattr(importlib.import_module(module), name)(json.loads(Path(order).read_text("utf-8")))
    write_text(answer, json.dumps(result))


if __name__ == "__main__":
    _answer(*sys.argv[1:])
