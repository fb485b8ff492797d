"""How every command begins and ends: its streams, ctrl-C, what the operating system refuses, and the exit code.

0: all is done. 1: some inputs failed, each by name. 2: it could not begin or could not go on (arguments, settings, a
disk that is full). 130: stopped by ctrl-C. 141: the reader of standard output went away, as in `... | head`.
"""

import argparse
import errno
import functools
import io
import math
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from utils.files import printable, quoted

DONE, SOME_FAILED, REFUSED, STOPPED, NO_READER = 0, 1, 2, 130, 141
Main = Callable[[Sequence[str] | None], int]


def starting() -> None:
    """For scripts whose imports take seconds: ctrl-C meanwhile is a word and an exit code, not a traceback."""
    _open_closed_streams()

    def stop(*_: Any) -> None:
        os.write(2, b"stopped\n")
        os._exit(STOPPED)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, stop)


def parser_of(about: str | None, script: str | None = None) -> argparse.ArgumentParser:
    """A parser that shows `about` as it stands, by the name that was called: "uncover NAME", else `script`, or file."""
    called = None if sys.argv[0].startswith("uncover ") else script
    return argparse.ArgumentParser(called, description=about, formatter_class=argparse.RawDescriptionHelpFormatter)


def command(*expected: type[Exception], stopped: str = "stopped") -> Callable[[Main], Main]:
    """Decorates `main(arguments) -> exit code`: OSError, MemoryError and the `expected` errors become one sentence, and
    ctrl-C `stopped`; a main that has more to say of it catches KeyboardInterrupt and returns STOPPED.
    """

    def decorate(main: Main) -> Main:
        @functools.wraps(main)
        def guarded(arguments: Sequence[str] | None = None) -> int:
            _open_closed_streams()
            for stream in (sys.stdout, sys.stderr):
                if isinstance(stream, io.TextIOWrapper):
                    # A name that the terminal cannot show must not end the run.
                    stream.reconfigure(errors="backslashreplace")
            if signal.getsignal(signal.SIGINT) not in (signal.default_int_handler, signal.SIG_IGN):
                signal.signal(signal.SIGINT, signal.default_int_handler)
            try:
                code = main(arguments)
                sys.stdout.flush()
                return code
            except (KeyboardInterrupt, OSError, MemoryError, *expected) as error:
                lost = _lost_output(getattr(error, "errno", None) is not None and error.filename is None)
                if isinstance(error, KeyboardInterrupt):
                    _say(stopped)
                    return STOPPED
                if lost is not None and lost.errno == errno.EPIPE:
                    return NO_READER
                _say(f"error: {sentence(error) if lost is None else f'standard output: {lost.strerror}'}")
                return REFUSED

        return guarded

    return decorate


def whole(lowest: int, highest: int) -> Callable[[str], int]:
    """An argparse type: a whole number from `lowest` to `highest`."""
    return lambda text: _within(int, text, f"a whole number from {lowest} to {highest}", lowest, highest)


def number(lowest: float, highest: float) -> Callable[[str], float]:
    """An argparse type: a number from `lowest` to `highest`, which "nan" is not."""
    return lambda text: _within(float, text, f"a number from {lowest:g} to {highest:g}", lowest, highest)


def _within(kind: type, text: str, expected: str, lowest: float, highest: float) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not lowest <= value <= highest:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is not {expected}")
    return value


def shard(text: str) -> tuple[int, int]:
    """An argparse type: "2/5" is the second of five parts, (2, 5)."""
    match = re.fullmatch("([1-9][0-9]{0,4})/([1-9][0-9]{0,4})", text)
    if match is None or not int(match[1]) <= int(match[2]) <= 10_000:
        expected = "I/N such as 2/5, I from 1 to N, which is at most 10000"
        raise argparse.ArgumentTypeError(f"{quoted(text)} is not {expected}")
    return int(match[1]), int(match[2])


AT_ONCE = whole(1, 1024)  # Of processes or threads: more than any machine has would only fill its memory


def sentence(error: BaseException) -> str:
    """What `error` says, on one line: "FILE: reason" of the operating system's errors, without their number."""
    if isinstance(error, OSError) and error.strerror:
        files = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
        return printable(": ".join([*([" -> ".join(files)] if files else []), error.strerror]))
    if isinstance(error, MemoryError) and not str(error):
        return "out of memory"
    return "\n".join(map(printable, str(error).splitlines())) or type(error).__name__


def counted(number: int, thing: str) -> str:
    """"1 photo", "2 photos"."""
    return f"{number} {thing}{'s' if number != 1 else ''}"


def _say(words: str) -> None:
    """Tells `words` on standard error; where that is full or gone too, nobody is left to tell."""
    try:
        print(words, file=sys.stderr, flush=True)  # noqa: T201
    except OSError:
        _to_nowhere(sys.stderr)


def _open_closed_streams() -> None:
    """A closed standard stream (`2>&-`) becomes one to nowhere, before the next file takes its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            spare = os.open(os.devnull, os.O_RDWR)
            if spare != number:
                os.dup2(spare, number)
                os.close(spare)
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115


def _lost_output(suspected: bool) -> OSError | None:
    """Why standard output takes no more words; from then on they go nowhere, or Python's end would complain."""
    try:
        sys.stdout.flush()
        if suspected:  # Without a buffer nothing is left that flushing could fail on.
            os.write(sys.stdout.fileno(), b"\n")
    except io.UnsupportedOperation:
        return None  # a stream of a test or a notebook
    except OSError as error:
        _to_nowhere(sys.stdout)
        return error
    return None


def _to_nowhere(stream: Any) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
