"""Every command of the documents is run, here or by another test, or stands below words that it was not tried."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.web.test_server import start

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
PROGRAMS = r"(?:[A-Z]+=\S+ )?(?:python[0-9.]*|uncover|make|pip|curl|docker|source|unshare|cp|packaging/\S+)\s"
HERE = r"(?:unshare -rn )?python predict\.py photos|uncover restore photos|curl|make"
# How a command begins, the test that runs it, and a word of that test.
ELSEWHERE = {
    "pip install": ("test_uncover.py", '"pip", "wheel"'),
    "uncover doctor": ("inference/test_doctor.py", "utils.doctor"),
    "python -m utils.doctor": ("inference/test_doctor.py", "utils.doctor"),
    "python app.py": ("web/test_server.py", "app.__file__"),
    "TMPDIR=/dev/shm python app.py": ("web/test_server.py", "TMPDIR"),
    "python data_preparation.py": ("test_smoke_chain.py", "data_preparation.py"),
    "python generate_meta_info.py": ("test_smoke_chain.py", "generate_meta_info.py"),
    "python train.py": ("test_smoke_chain.py", "train.py"),
    "python -m data.synthesis": ("test_smoke_chain.py", "data.synthesis"),
    "python -m test_code.build": ("test_smoke_chain.py", "test_code.build"),
    "python -m data.heldout": ("data/test_heldout.py", "main("),
    "python -m inference.leaderboard": ("inference/test_leaderboard.py", "main("),
    "python predict.py SETS": ("inference/test_leaderboard.py", "metrics"),
    "python -m inference.benchmark": ("inference/test_benchmark.py", "main("),
    "packaging/watch_folder.sh": ("test_packaging.py", "watch_folder.sh"),
    "UNCOVER=/opt/uncover/bin/uncover packaging/watch_folder.sh": ("test_packaging.py", '"UNCOVER"'),
    # Of what `make` has made.
    "source .venv/bin/activate": ("../Makefile", "-m venv $(VENV)"),
}


def commands() -> list[tuple[str, str, str]]:
    """(document, heading, command) of all; what is continued on the next line is one."""
    found = []
    for name in DOCUMENTS:
        heading = ""
        for line in (ROOT / name).read_text("utf-8").replace("\\\n", "").splitlines():
            heading = line if line.startswith("#") else heading
            match = re.match(rf" {{4,}}({PROGRAMS}.*)", line)
            if match:
                found.append((name, heading, re.sub(r"\s+", " ", match[1].split(" #")[0]).strip()))
    return found


COMMANDS = commands()
RUN = list(dict.fromkeys(command for _, _, command in COMMANDS if re.match(HERE, command)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where a reader may stand: photos, a page, masks, and the two programs by their names."""
    place = tmp_path_factory.mktemp("reader")
    for name in ("bin", "photos", "masks", "results"):
        (place / name).mkdir()
    for name in ("photos/magazine.jpg", "page.jpg", "photo.jpg"):
        shutil.copy(ROOT / "test_code" / "samples" / "photos" / "magazine_hand.jpg", place / name)
    python = f'#!/bin/sh\ncase "$1" in *.py) set -- "{ROOT}/$@";; esac\nexec "{sys.executable}" "$@"\n'
    (place / "bin" / "python").write_text(python)
    (place / "bin" / "uncover").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m uncover "$@"\n')
    (place / "bin" / "make").write_text(f'#!/bin/sh\nexec {shutil.which("make")} -n -C "{ROOT}" "$@"\n')
    for path in (place / "bin").iterdir():
        path.chmod(0o755)
    return place


@pytest.fixture(scope="module")
def port(tmp_path_factory) -> str:
    """That of a page which is being served."""
    with start(tmp_path_factory.mktemp("served"), "--port", "0") as process:
        process.stdout.readline()
        yield re.search(r":(\d+)/", process.stdout.readline())[1]
        process.terminate()


@pytest.mark.parametrize(("document", "heading", "command"), COMMANDS)
def test_a_command_is_run_somewhere_or_marked(document, heading, command):
    runs = [test for begin, test in ELSEWHERE.items() if command.startswith(begin)]
    assert command in RUN or runs or re.search(r"not tried|itself is not", heading), f"{document}: nobody runs this"
    for file, word in runs:
        assert word in (ROOT / "tests" / file).read_text("utf-8")


@pytest.mark.long
@pytest.mark.parametrize("command", RUN)
def test_a_command_works_as_it_is_written(command, folder, request):
    program = command.split()[0]
    if shutil.which(program) is None and program not in ("python", "uncover"):
        pytest.skip(f"no {program} here")
    if program == "unshare" and subprocess.run(["unshare", "-rn", "true"], check=False).returncode:
        pytest.skip("no network of one's own is allowed here")
    if program == "curl":
        command = command.replace(":8000", f":{request.getfixturevalue('port')}").replace("curl", "curl -fsS")
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    there = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-ec", command], cwd=folder, env=there, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in re.findall(r"-o (\S+)", command):
        assert (folder / name).stat().st_size > 1000


@pytest.mark.long
@pytest.mark.parametrize("first", ["from inference import Restorer", "import httpx"])
def test_a_program_of_the_readme_works_as_it_is_written(first, folder, monkeypatch, request):
    readme = (ROOT / "README.md").read_text("utf-8")
    program = re.search(rf"^    {first}.*\n(?:    .*\n)+", readme, re.MULTILINE)[0]
    if "http" in first:
        program = program.replace(":8000", f":{request.getfixturevalue('port')}")
    monkeypatch.chdir(folder)
    mask = np.zeros((96, 128), np.uint8)
    mask[20:30, 20:30] = 1
    names = {"pixels": np.full((96, 128, 3), 200, np.uint8), "mask": mask}
    exec("if True:\n" + program, names)
    if "http" in first:
        assert (folder / "results" / "magazine.jpg").read_bytes() != (folder / "photos" / "magazine.jpg").read_bytes()
    else:
        assert (names["result"].mask[22:28, 22:28] == 1).all()
