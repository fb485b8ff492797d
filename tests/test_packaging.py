"""The recipes: a document of paperless-ngx in its place, a watched folder; what the Dockerfiles name exists."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from PIL import Image

from app import parse_arguments
from tests.inference.painted import page
from uncover.__main__ import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
PHOTO = ROOT / "test_code" / "samples" / "photos" / "magazine_hand.jpg"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "UNCOVER": f"{sys.executable} -m uncover"}


def consume(document: Path) -> subprocess.CompletedProcess:
    there = {**ENVIRONMENT, "DOCUMENT_WORKING_PATH": str(document), "DOCUMENT_SOURCE_PATH": "/consume/a letter"}
    script = ROOT / "packaging" / "paperless_pre_consume.sh"
    return subprocess.run([script], cwd="/", env=there, capture_output=True, text=True, check=False)


@pytest.mark.long
def test_paperless_gets_the_restored_photo_in_the_place_of_its_working_copy(tmp_path):
    document = tmp_path / "a letter $1.jpg"
    shutil.copy(PHOTO, document)
    document.chmod(0o640)
    told = consume(document)
    assert told.returncode == 0, told.stderr
    assert "1 restored" in told.stdout
    assert document.stat().st_mode & 0o777 == 0o640
    assert document.read_bytes() != PHOTO.read_bytes()
    assert Image.open(document).size == Image.open(PHOTO).size
    assert [path.name for path in tmp_path.iterdir()] == [document.name]


@pytest.mark.parametrize(("name", "content"), [("mail.eml", b"From: a"), ("broken.jpg", b"\xff\xd8\xff\xe0 no more")])
def test_paperless_keeps_what_cannot_be_restored(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    told = consume(tmp_path / name)
    assert told.returncode == 0
    assert "uncover: /consume/a letter is archived as it came" in told.stderr
    assert (tmp_path / name).read_bytes() == content


def until(happened, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


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
