"""What the README names exists: files, modules, scripts, options and configs."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

import predict

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "test_code" / "samples"
README = (ROOT / "README.md").read_text(encoding="utf-8")
SCRIPTS = sorted(set(re.findall(r"(?:python |-c )((?:configs/)?[a-z0-9_]+\.(?:py|yml))", README)))
MODULES = sorted(set(re.findall(r"python -m ([a-z_]+(?:\.[a-z_]+)*)", README)) - {"paddle.distributed.launch"})


def test_every_sample_is_small_and_its_origin_is_stated():
    sources, files = (SAMPLES / "SOURCES.md").read_text(), sorted(SAMPLES.rglob("*.jpg"))
    assert len(files) == 9
    assert all(f"`{path.relative_to(SAMPLES).as_posix()}`" in sources for path in files)
    assert sum(path.stat().st_size for path in files) < 3_000_000


def test_nothing_waits_to_be_filled_in():
    assert not re.findall(r"@[A-Z]+@", README)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_linked_files_exist(target):
    assert (ROOT / target).is_file()


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
