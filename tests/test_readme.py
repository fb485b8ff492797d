"""What the README names exists: files, modules, scripts, options and configs."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

import predict
from configs.load import load_config

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "test_code" / "samples"
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh.md").read_text(encoding="utf-8")
DOCUMENTS = ["README.md", "README.zh.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
LINKS = [(name, target) for name in DOCUMENTS
         for target in sorted(set(re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text(encoding="utf-8"))))]
SCRIPTS = sorted(set(re.findall(r"(?:python |-c )((?:configs/)?[a-z0-9_]+\.(?:py|yml))", README)))
MODULES = sorted(set(re.findall(r"python -m ([a-z_]+(?:\.[a-z_]+)*)", README)) - {"paddle.distributed.launch"})


def test_every_sample_is_small_and_its_origin_is_stated():
    sources, files = (SAMPLES / "SOURCES.md").read_text(), sorted(SAMPLES.rglob("*.jpg"))
    assert len(files) == 9
    assert all(f"`{path.relative_to(SAMPLES).as_posix()}`" in sources for path in files)
    assert sum(path.stat().st_size for path in files) < 3_000_000


def test_nothing_waits_to_be_filled_in():
    assert not re.findall(r"@[A-Z]+@", README)


@pytest.mark.parametrize(("document", "target"), LINKS)
def test_linked_files_exist(document, target):
    assert ((ROOT / document).parent / target).is_file()


# What is found in a README, in its order where the language leaves that alone.
STRUCTURE = {
    "headings' levels": lambda text: re.findall(r"^(#+) ", text, re.MULTILINE),
    "code blocks": lambda text: re.findall(r"(?:(?<=\n\n)|^)(?: {4}.*\n|\n(?= {4}))+", text),
    "items of lists": lambda text: len(re.findall(r"^\* ", text, re.MULTILINE)),
    "rows and columns of tables": lambda text: [
        [len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()]
        for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    ],
    "links' targets": lambda text: sorted(set(re.findall(r"\]\(([^)]+)\)", text)) - {"README.md", "README.zh.md"}),
    "options, files, commands": lambda text: sorted(
        re.sub(r"\s+", "", code) for code in re.findall(r"`([^`]+)`", text)
    ),
    "numbers": lambda text: sorted(re.findall(r"\d+(?:\.\d+)?", text)),
}


@pytest.mark.parametrize("what", STRUCTURE)
def test_the_chinese_readme_is_built_as_the_english_one(what):
    found = STRUCTURE[what](README)
    assert found
    assert STRUCTURE[what](CHINESE) == found


@pytest.mark.parametrize(("text", "other"), [(README, "README.zh.md"), (CHINESE, "README.md")])
def test_each_readme_leads_to_the_other(text, other):
    assert f"({other})" in text.splitlines()[2]


def test_options_of_commands_in_the_documents_exist():
    texts = "".join((ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS)
    commands = re.findall(r"^ {4}(?:uncover restore|python predict\.py|python app\.py)(.*)", texts, re.MULTILINE)
    offered = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("predict.py", "app.py"))
    used = {option for command in commands for option in re.findall(r"--[a-z-]+", command)}
    assert used
    assert {option for option in used if f'"{option}"' not in offered} == set()


@pytest.mark.parametrize("phase", ["phase1_l1_gated", "phase2_msssim_gated", "phase3_all_gated"])
def test_the_small_run_fits_each_phase(phase):
    (overrides,) = re.findall(r"`-o (model\.preset=tiny [^`]+)`", README)
    config = load_config(ROOT / "configs" / f"nafnet_{phase}.yml", shlex.split(overrides))
    assert config.train.iterations == 200


@pytest.mark.parametrize("name", SCRIPTS)
def test_named_scripts_and_configs_exist(name):
    assert (ROOT / name).is_file()


@pytest.mark.parametrize("module", MODULES)
def test_named_modules_exist(module):
    assert find_spec(module) is not None


def test_the_table_of_options_is_that_of_predict(capsys):
    with pytest.raises(SystemExit):
        predict.parse_arguments(["--help"])
    offered = set(re.findall(r"(--[a-z-]+)", capsys.readouterr().out)) - {"--help"}
    rows = [line for line in README.splitlines() if line.startswith("| `--")]
    assert {option for row in rows for option in re.findall(r"`(--[a-z-]+)", row.split("|")[1])} == offered
