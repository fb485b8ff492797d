"""Starting Paddle with as many CPU threads as there are cores, and without its sermon about it."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from contextlib import redirect_stderr

# What Paddle prints at every import as soon as it may use more than one thread.
_SERMON = ("WARNING: OMP_NUM_THREADS set to", "PLEASE USE OMP_NUM_THREADS WISELY")


def available_cores() -> int:
    """The number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_threads() -> int:
    """What the user says by OMP_NUM_THREADS, otherwise the number of cores."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdecimal() and int(said) > 0 else available_cores()


def start_paddle(threads: int | None = None) -> int:
    """Imports Paddle, which uses one CPU thread unless OMP_NUM_THREADS says otherwise before that.

    The variable is set to `threads`, or, unless the user has set it, to the number of cores. Results repeat bit for
    bit only at the same number of threads. Has to run before anything else imports Paddle.

    Returns:
        The number of threads in force.
    """
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ.setdefault("OMP_NUM_THREADS", str(available_cores()))
    # Paddle 2.6 breaks gzip and NumPy's random module when it is imported before them.
    import zlib  # noqa: F401

    import numpy  # noqa: F401

    printed, level = io.StringIO(), logging.root.level
    try:
        with redirect_stderr(printed), warnings.catch_warnings():
            # Paddle looks for a compiler cache that only builders of extensions need.
            warnings.filterwarnings("ignore", message="No ccache found")
            import paddle  # noqa: F401
    finally:
        rest = [line for line in printed.getvalue().splitlines(True) if not line.startswith(_SERMON)]
        sys.stderr.write("".join(rest))
        _return_logging(printed)
        logging.root.setLevel(level)
    # Paddle puts 1 in place of a value that is no number.
    return int(os.environ["OMP_NUM_THREADS"])


def _return_logging(lost: io.StringIO) -> None:
    """Points what Paddle set up to log to `lost`, which nobody reads, at the real error stream.

    Paddle also takes over the root logger, through which this project's own warnings go. That one is freed, so that
    Python prints them as plain sentences, or as the command line sets it up; its level goes back as well.
    """
    for logger in logging.Logger.manager.loggerDict.values():
        for handler in getattr(logger, "handlers", ()):
            if getattr(handler, "stream", None) is lost:
                handler.setStream(sys.stderr)
    for handler in [*logging.root.handlers]:
        if getattr(handler, "stream", None) is lost:
            logging.root.removeHandler(handler)
