"""Pinned requirements, images that name what exists, and the recipes: a document of paperless-ngx, a watched folder."""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from PIL import Image

from app import parse_arguments
from tests.conftest import PHOTOS, ROOT, until
from tests.inference.stand_ins import page
from uncover.__main__ import COMMANDS

PHOTO = PHOTOS / "magazine_hand.jpg"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "UNCOVER": f"{sys.executable} -m uncover"}
PACKAGES = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
# Used when the user has installed them, and never needed.
OPTIONAL = {"visualdl", "tensorboardX", "ray", "fsspec"}


def pins(name: str) -> dict[str, str]:
    wanted = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]
    matches = [re.fullmatch(r"([A-Za-z0-9_.-]+)==([0-9][A-Za-z0-9.]*)", line) for line in wanted]
    assert all(matches), "every line pins a version"
    return {match[1].lower().replace("_", "-"): match[2] for match in matches}


def test_requirements_differ_in_paddle_alone_and_the_tests_run_on_them():
    cpu, gpu, page = (pins(f"requirements{which}.txt") for which in ("-cpu", "", "-web"))
    assert cpu.items() ^ gpu.items() == {("paddlepaddle", "3.2.2"), ("paddlepaddle-gpu", "2.6.2")}
    shared = cpu.keys() & page.keys()
    assert shared
    assert {name: cpu[name] for name in shared} == {name: page[name] for name in shared}
    for name in ("numpy", "opencv-python-headless", "pillow"):
        assert metadata.version(name) == cpu[name]


def test_every_imported_package_is_pinned():
    scripts, names = list(ROOT.glob("*.py")), set()
    for path in [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")] + scripts:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(node.module.split(".")[0])
    names -= sys.stdlib_module_names | PACKAGES | {path.stem for path in scripts} | OPTIONAL
    assert "numpy" in names
    pinned, bring = pins("requirements-cpu.txt") | pins("requirements-web.txt"), metadata.packages_distributions()
    packages = {name: {package.lower().replace("_", "-") for package in bring.get(name, [name])} for name in names}
    assert not {name: all_of for name, all_of in packages.items() if not all_of & pinned.keys()}, "not pinned"


def consume(document: Path) -> subprocess.CompletedProcess:
    there = {**ENVIRONMENT, "DOCUMENT_WORKING_PATH": str(document), "DOCUMENT_SOURCE_PATH": "/consume/a letter"}
    script = ROOT / "packaging" / "paperless_pre_consume.sh"
    told = subprocess.run([script], cwd="/", env=there, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return told


@pytest.mark.long
def test_paperless_gets_the_restored_photo_in_the_place_of_its_working_copy(tmp_path):
    document = tmp_path / "a letter $1.jpg"
    shutil.copy(PHOTO, document)
    document.chmod(0o640)
    assert "1 restored" in consume(document).stdout
    assert document.stat().st_mode & 0o777 == 0o640
    assert document.read_bytes() != PHOTO.read_bytes()
    assert Image.open(document).size == Image.open(PHOTO).size
    assert [path.name for path in tmp_path.iterdir()] == [document.name]


@pytest.mark.parametrize(("name", "content"), [("mail.eml", b"From: a"), ("broken.jpg", b"\xff\xd8\xff\xe0 no more")])
def test_paperless_keeps_what_cannot_be_restored(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert "uncover: /consume/a letter is archived as it came" in consume(tmp_path / name).stderr
    assert (tmp_path / name).read_bytes() == content


@pytest.mark.long
def test_a_watched_folder_takes_photos_when_they_are_whole_and_goes_on_after_a_bad_one(tmp_path):
    inbox, results, log = tmp_path / "in box", tmp_path / "results", tmp_path / "log"
    inbox.mkdir()
    with log.open("w") as output:
        command = [ROOT / "packaging" / "watch_folder.sh", inbox, results, "2"]
        watch = subprocess.Popen(command, env=ENVIRONMENT, stdout=output, stderr=output, start_new_session=True)
    try:
        (inbox / "bad.jpg").write_bytes(b"bad")
        with (inbox / "slow.png").open("wb") as slow:  # It arrives in pieces, for longer than the pause.
            Image.fromarray(page(60, 80)).save(tmp_path / "whole.png")
            whole = (tmp_path / "whole.png").read_bytes()
            for part in range(6):
                slow.write(whole[part * len(whole) // 6 : (part + 1) * len(whole) // 6])
                slow.flush()
                time.sleep(0.5)
        until((results / "slow.png").exists)
        until(lambda: "1 failed" in log.read_text())
        assert log.read_text().count("failed: bad.jpg") == 1
        assert "failed: slow.png" not in log.read_text()
        shutil.copy(PHOTO, inbox)
        until((results / PHOTO.name).exists)
        until(lambda: "1 restored" in log.read_text())
        assert watch.poll() is None
    finally:
        os.killpg(watch.pid, signal.SIGTERM)
        watch.wait()


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.gpu"])
def test_what_an_image_is_built_from_exists_and_is_not_kept_from_the_build(name):
    lines = (ROOT / name).read_text()
    named = [*re.findall(r"source=([\w./-]+)", lines), "uncover", "pyproject.toml", "README.md"]
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert len(named) > 3
    assert all((ROOT / path).exists() and path.partition("/")[0] not in ignored for path in named)
    assert "Not tried" in lines


def test_the_page_of_the_compose_file_is_reached_from_this_machine_alone():
    page = yaml.safe_load((ROOT / "compose.yml").read_text())["services"]["page"]
    assert page["command"][0] in COMMANDS
    (port,) = page["ports"]
    options = parse_arguments(page["command"][1:])
    assert port == f"127.0.0.1:{options.port}:{options.port}"
    assert options.host == "0.0.0.0"
