"""Scripts killed while they write: what has its name is whole, and a run afterwards ends as if nothing had been.

A killed process dies at its n-th file: with half of it written under another name, or right after it got its own.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from inference.files import RECORD
from tests.conftest import ROOT, contents
from tests.golden.pictures import save
from tests.inference.stand_ins import page
from tests.models.networks import plain_weights
from tests.test_data_preparation import add_group

# Importing Paddle takes longer than the pictures. One process does it, and gives birth to those that are killed.
MOTHER = """
import importlib, itertools, os, signal, sys
from utils.machine import start_paddle

start_paddle()
script, *others = [importlib.import_module(name) for name in sys.argv[1:]]
replace = os.replace

def replace_or_die(source, target):
    if next(files) == last:
        os.truncate(source, os.path.getsize(source) // 2) if half else replace(source, target)
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

for line in sys.stdin:
    last, half, *arguments = line.rstrip("\\n").split("\\t")
    last, half, files = int(last), int(half), itertools.count(1)
    child = os.fork()
    if child == 0:
        os.dup2(2, 1)
        os.replace = replace_or_die
        os._exit(script.main(arguments))
    print(os.waitpid(child, 0)[1], flush=True)
"""


@contextmanager
def mother(log: Path, *modules: str, threads: int = 1) -> Iterator[Callable[..., None]]:
    """Gives a function (arguments, the number of the last file, whether that is half) that runs `main` of the first
    module, to its end where there is no last file; what the processes write and print ends in `log`."""
    environment, pipe = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)}, subprocess.PIPE
    command = [sys.executable, "-c", MOTHER, *modules]
    with open(log, "wb") as errors, subprocess.Popen(
        command, env=environment, stdin=pipe, stdout=pipe, stderr=errors, text=True, bufsize=1
    ) as process:

        def run(*arguments: str, last: int = 0, half: bool = False) -> None:
            process.stdin.write("\t".join([str(last), str(int(half)), *arguments]) + "\n")
            ended = os.waitstatus_to_exitcode(int(process.stdout.readline()))
            assert ended == (-signal.SIGKILL if last else 0), log.read_text()

        yield run


def visible(folder: Path) -> dict[Path, bytes]:
    return contents(folder, "[!.]*.*")


def kill_and_finish(
    root: Path, modules: list[str], options: list[str], lasts: list[int], anew: int = 99
) -> dict[Path, bytes]:
    """Runs a script undisturbed, then kills it at the `lasts`, from run `anew` on with --overwrite, and finishes."""
    with mother(root / "log", *modules) as run:
        run(str(root / "in"), str(root / "undisturbed"), *options)
        arguments, expected = [str(root / "in"), str(root / "out"), *options], visible(root / "undisturbed")
        for number, last in enumerate(lasts):
            run(*arguments, *["--overwrite"] * (number >= anew), last=last, half=number % 2 == 0)
            assert visible(root / "out").items() <= expected.items()
        for path in (root / "out").rglob(".*"):
            # What was written a moment ago could be another machine's.
            os.utime(path, (0, 0))
        run(*arguments)
    assert visible(root / "out") == expected
    return expected


def test_predict_leaves_whole_files_only_and_finishes_as_if_undisturbed(tmp_path):
    for index, suffix in enumerate((".jpg", ".png", ".tif", ".webp") * 2):
        save(tmp_path / "in" / f"sub{index % 2}" / f"p{index:02}{suffix}", page(90 + 5 * index, 120, (20, 30, 60, 70)))
    options = ["--weights", str(plain_weights(tmp_path / "tiny.pdparams")), "--mode", "tiles", "--save-mask",
               "--compare", "--device", "cpu", "--backend", "paddle", "--threads", "1"]  # fmt: skip
    modules = ["predict", "inference.folder", "inference.restorer"]
    # Going on at first; then everything is made anew, over results that are there.
    assert len(kill_and_finish(tmp_path, modules, options, [1, 2, 4, 3, 8, 13, 23, 24], anew=4)) == 3 * 8
    assert [path.name for path in (tmp_path / "out").rglob(".*")] == [RECORD]


def test_preparation_leaves_whole_files_only_and_finishes_as_if_undisturbed(tmp_path):
    for number in range(3):
        add_group(tmp_path / "in", "train_data_1", f"page{number}", 0, (10, 200, 50, 60), seed=number)
    options = ["--all", "--size", "64", "--workers", "1"]
    kill_and_finish(tmp_path, ["data_preparation"], options, [1, 1, 2, 3, 4, 3])
