"""A command's streams, errors and exit codes, as a shell sees them."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

SCRIPT = """
import os, signal, sys
from utils.command import command

@command(ValueError)
def main(arguments=None):
    print("begun \\udcff")
    what = sys.argv[1]
    if what == "refuse": raise ValueError("x.yml: bad key")
    if what == "own": raise FileExistsError("r: is there already")
    if what == "open": open("/no/such/file")
    if what == "stop": os.kill(os.getpid(), signal.SIGINT)
    if what == "bug": raise KeyError("seen")
    print("a last word", file=sys.stderr)
    return 0

sys.exit(main())
"""


def shell(line: str, what: str, unbuffered: str) -> tuple[int, str, str]:
    line = "set -o pipefail; " + line.replace("RUN", 'timeout -s KILL 60 "$0" -c "$1" "$2"')
    environment = {"PYTHONUNBUFFERED": unbuffered, "PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "ascii"}
    run = subprocess.run(["bash", "-c", line, sys.executable, SCRIPT, what], cwd=ROOT, env=environment,
                         capture_output=True, text=True)  # fmt: skip
    return run.returncode, run.stdout, run.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(("line", "what", "code", "words"), [
    ("RUN", "fine", 0, "a last word\n"),
    ("RUN", "refuse", 2, "error: x.yml: bad key\n"),
    ("RUN", "bug", 1, "KeyError: 'seen'\n"),
    ("RUN", "own", 2, "error: r: is there already\n"),
    ("RUN", "open", 2, "error: /no/such/file: No such file or directory\n"),
    ("RUN", "stop", 130, "stopped\n"),
    ("RUN 2>&-", "fine", 0, ""),
    ("RUN 2>&-", "refuse", 2, ""),
    ("RUN >&- <&-", "fine", 0, "a last word\n"),
    ("RUN >/dev/full", "open", 2, "error: standard output: No space left on device\n"),
    ("RUN >/dev/full 2>/dev/full", "refuse", 2, ""),
    ("RUN | (exec <&-; sleep 0.5)", "open", 141, ""),
])  # fmt: skip
def test_a_command_ends_with_a_sentence_and_its_code(line, what, code, words, unbuffered):
    found, output, told = shell(line, what, unbuffered)
    assert found == code
    assert told == words or (what == "bug" and told.endswith(words))
    assert output in ("", "begun \\udcff\n", "begun \\udcff\n\n")
