"""What the documents name exists, and their commands are run, here or by another test, or marked as not tried; the
tables of settings are the schema's.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import numpy as np
import pytest

import predict
from configs.load import _parse_yaml, load_config
from configs.schema import AnyTerm, Config, LossTerm
from tests.conftest import PHOTOS, ROOT
from tests.web.test_server import start

TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in
         (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}  # fmt: skip
README, CHINESE = TEXTS["README.md"], (ROOT / "README.zh.md").read_text("utf-8")
SETTINGS = (ROOT / "configs" / "README.md").read_text("utf-8")
LINKS = [(name, target) for name, text in TEXTS.items() for target in sorted(set(re.findall(r"\]\(([^)#:]+)\)", text)))]
SCRIPTS = sorted(set(re.findall(r"(?:python |-c )((?:configs/)?[a-z0-9_]+\.(?:py|yml))", README)))
MODULES = sorted(set(re.findall(r"python -m ([a-z_]+(?:\.[a-z_]+)*)", README)) - {"paddle.distributed.launch"})
# What is found in a README, in its order where the language leaves that alone; each leads to the other.
STRUCTURE = {
    "headings' levels": lambda text: re.findall(r"^(#+) ", text, re.MULTILINE),
    "code blocks": lambda text: re.findall(r"(?:(?<=\n\n)|^)(?: {4}.*\n|\n(?= {4}))+", text),
    "items of lists": lambda text: len(re.findall(r"^\* ", text, re.MULTILINE)),
    "rows and columns of tables": lambda text: [
        [len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()]
        for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    ],
    "links' targets": lambda text: sorted(set(re.findall(r"\]\(([^)]+)\)", text.replace("README.zh", "README")))),
    "options, files, commands": lambda text: sorted(
        re.sub(r"\s+", "", code) for code in re.findall(r"`([^`]+)`", text)
    ),
    "numbers": lambda text: sorted(re.findall(r"\d+(?:\.\d+)?", text)),
}
PROGRAMS = r"(?:[A-Z]+=\S+ )?(?:python[0-9.]*|uncover|make|pip|curl|docker|source|unshare|cp|packaging/\S+)\s"
HERE = r"(?:unshare -rn )?python predict\.py photos|uncover restore photos|curl|make"
# A command that is not run here is one whose program another test names; this is what they say.
OTHERS = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__))


def commands() -> list[tuple[str, str, str]]:
    """(document, heading, command) of all; what is continued on the next line is one."""
    found = []
    for name, text in TEXTS.items():
        heading = ""
        for line in text.replace("\\\n", "").splitlines():
            heading = line if line.startswith("#") else heading
            match = re.match(rf" {{4,}}({PROGRAMS}.*)", line)
            if match:
                found.append((name, heading, re.sub(r"\s+", " ", match[1].split(" #")[0]).strip()))
    return found


COMMANDS = commands()
RUN = list(dict.fromkeys(command for _, _, command in COMMANDS if re.match(HERE, command)))


def test_every_sample_is_small_and_its_origin_is_stated():
    samples = ROOT / "test_code" / "samples"
    sources, files = (samples / "SOURCES.md").read_text(), sorted(samples.rglob("*.jpg"))
    assert len(files) == 9
    assert all(f"`{path.relative_to(samples).as_posix()}`" in sources for path in files)
    assert sum(path.stat().st_size for path in files) < 3_000_000


@pytest.mark.parametrize(("document", "target"), [*LINKS, *(("README.md", name) for name in SCRIPTS)])
def test_linked_files_scripts_and_configs_exist(document, target):
    assert ((ROOT / document).parent / target).is_file()


@pytest.mark.parametrize("module", MODULES)
def test_named_modules_exist(module):
    assert find_spec(module) is not None


@pytest.mark.parametrize("what", STRUCTURE)
def test_the_chinese_readme_is_built_as_the_english_one(what):
    found = STRUCTURE[what](README)
    assert found
    assert STRUCTURE[what](CHINESE) == found


def test_the_table_of_options_is_that_of_predict_and_the_documents_use_no_others(capsys):
    with pytest.raises(SystemExit):
        predict.parse_arguments(["--help"])
    offered = set(re.findall(r"(--[a-z-]+)", capsys.readouterr().out)) - {"--help"}
    rows = [line for line in README.splitlines() if line.startswith("| `--")]
    assert {option for row in rows for option in re.findall(r"`(--[a-z-]+)", row.split("|")[1])} == offered
    served = re.findall(r'"(--[a-z-]+)"', (ROOT / "app.py").read_text("utf-8"))
    used = [command for *_, command in COMMANDS if re.match("uncover restore|python (predict|app).py", command)]
    assert set(re.findall(r"--[a-z-]+", " ".join(used))) <= offered.union(served)


@pytest.mark.parametrize("phase", ["phase1_l1_gated", "phase2_msssim_gated", "phase3_all_gated"])
def test_the_small_run_fits_each_phase(phase):
    (overrides,) = re.findall(r"`-o (model\.preset=tiny [^`]+)`", README)
    config = load_config(ROOT / "configs" / f"nafnet_{phase}.yml", shlex.split(overrides))
    assert config.train.iterations == 200


def settings_of(cls: type, path: str = "") -> Iterator[tuple[str, object]]:
    """(key, default) of every plain setting below `cls`, as the README of the configs names them."""
    hints = get_type_hints(cls)
    for item in fields(cls):
        assert item.metadata["explanation"].endswith(".")
        key, arguments = path + item.name, get_args(hints[item.name])
        if is_dataclass(hints[item.name]):
            yield from settings_of(hints[item.name], f"{key}.")
        elif get_origin(hints[item.name]) is tuple and is_dataclass(arguments[0]):
            yield from settings_of(arguments[0], f"{key}.N.")
        else:
            yield key, item.default


def test_the_tables_hold_every_key_with_its_default() -> None:
    tables = SETTINGS.split("## Terms of the loss")[0]
    rows = dict(re.findall(r"^\| `([\w.]+)` \| [^|]+ \| ([^|]+) \| [^|]+ \|$", tables, re.MULTILINE))
    settings = dict(settings_of(Config))
    assert rows.keys() == settings.keys()
    for key, default in settings.items():
        if default is MISSING:
            assert rows[key] == ("see below" if key == "loss" else "required"), key
        else:
            found = _parse_yaml(rows[key].strip("`"))
            assert (tuple(found) if isinstance(found, list) else found) == default, key


def test_the_table_of_terms_holds_every_term_with_its_settings() -> None:
    section = SETTINGS.split("## Terms of the loss")[1]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \| ([^|]*) \| ([^|]+) \|$", section, re.MULTILINE)
    terms = get_args(AnyTerm)
    assert [row[0] for row in rows] == [term.name for term in terms]
    for term, (_, settings, needs, meaning) in zip(terms, rows, strict=True):
        own = {item.name: item.default for item in fields(term)[len(fields(LossTerm)) :]}
        assert {key: float(value) for key, value in re.findall(r"`(\w+)`: .*?\(default ([\d.]+)\)", settings)} == own
        assert ("model.gate: true" in needs) == (not {"mask_logit", "restored"}.isdisjoint(term.inputs))
        assert (f"patches of at least {term.minimum_patch}" in needs) == (term.minimum_patch > 1)
        assert meaning == term.__doc__


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where a reader may stand: photos, a page, masks, and the programs by their names."""
    place = tmp_path_factory.mktemp("reader")
    for name in ("bin", "photos", "masks", "results"):
        (place / name).mkdir()
    for name in ("photos/magazine.jpg", "page.jpg", "photo.jpg"):
        shutil.copy(PHOTOS / "magazine_hand.jpg", place / name)
    for name, lines in {
        "python": f'case "$1" in *.py) set -- "{ROOT}/$@";; esac\nexec "{sys.executable}" "$@"',
        "uncover": f'exec "{sys.executable}" -m uncover "$@"',
        "make": f'exec {shutil.which("make")} -n -C "{ROOT}" "$@"',
    }.items():
        (place / "bin" / name).write_text(f"#!/bin/sh\n{lines}\n")
        (place / "bin" / name).chmod(0o755)
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
    program = re.search(r"(?:python (?:-m )?|packaging/)([\w.]+)", command)
    elsewhere = program[1] in OTHERS if program else command.startswith(("pip install ", "source .venv/"))
    assert command in RUN or elsewhere or re.search(r"not tried|itself is not", heading), f"{document}: nobody runs it"


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
    program = re.search(rf"^    {first}.*\n(?:    .*\n)+", README, re.MULTILINE)[0]
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
