"""What is installed: a wheel, the command `uncover` and its completion, `import uncover` beside others of such names.

And around it: pinned requirements, images that name what exists, a document of paperless-ngx, a watched folder.
"""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from PIL import Image

import predict
import uncover
from app import parse_arguments
from tests.conftest import PHOTOS, ROOT, python, until
from tests.inference.stand_ins import page
from uncover.__main__ import COMMANDS, main

PHOTO = PHOTOS / "magazine_hand.jpg"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "UNCOVER": f"{sys.executable} -m uncover"}
PACKAGES = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
# Used when the user has installed them, and never needed.
OPTIONAL = {"ray", "fsspec"}


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


# What somebody's own project may be called.
OTHERS = ("utils", "data", "models", "metrics", "inference", "train")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder for PYTHONPATH that holds what a wheel installs, and nothing of the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    left_out = shutil.ignore_patterns(".*", "tests", "runs", "datasets", "demo", "results", "build", "__pycache__")
    shutil.copytree(ROOT, folder / "source", ignore=left_out)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "--no-cache-dir", "-w", str(folder), str(folder / "source")], check=True)
    (wheel,) = folder.glob("uncover-*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture
def installed(site, tmp_path):
    """Runs Python in a folder, with what is installed."""
    there = {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    return lambda *words: python(*words, cwd=tmp_path, env=there).stdout


@pytest.mark.long
def test_a_wheel_takes_one_name_and_holds_all_rooms_the_weights_and_the_configs(site):
    assert {path.name.partition("-")[0] for path in site.iterdir()} == {"uncover"}
    below = site / "uncover" / "_rooms"
    files = {path.relative_to(below) for path in below.rglob("*")}
    rooms = [path.parent for path in ROOT.glob("*/__init__.py") if path.parent.name not in ("tests", "uncover")]
    kinds = (".py", ".yml", ".pdparams", ".webp", ".sha256", ".html", ".md", ".js", ".css")
    wanted = {path.relative_to(ROOT) for room in rooms for path in room.rglob("*") if path.suffix in kinds}
    assert len(wanted) > 100
    assert wanted | {Path("predict.py"), Path("train.py")} <= files
    (about,) = site.glob("*.dist-info")
    assert "uncover = uncover.__main__:main" in (about / "entry_points.txt").read_text()
    assert f"Version: {uncover.__version__}\n" in (about / "METADATA").read_text()


@pytest.mark.long
def test_the_installed_command_writes_the_bytes_that_the_script_writes(installed, tmp_path):
    options = ("--include", "*s_hand.jpg", "--device", "cpu")
    assert "2 restored" in installed("-m", "uncover", "restore", PHOTOS, "ours", *options)
    assert predict.main([str(PHOTOS), str(tmp_path / "theirs"), *options]) == 0
    for path in (tmp_path / "theirs").glob("[!.]*"):  # The record tells when they were written.
        assert path.read_bytes() == (tmp_path / "ours" / path.name).read_bytes()


@pytest.mark.long
def test_the_library_lives_beside_packages_of_the_same_names(installed, tmp_path):
    for name in OTHERS:
        (tmp_path / f"{name}.py").write_text("mine = True\n")
    installed("-c", f"""
import pickle, sys
import {OTHERS[0]}, uncover
from PIL import Image
result = uncover.restore({str(PHOTOS / "pens_hand.jpg")!r}, device="cpu")
assert result.mask.any() and isinstance(result, uncover.Restored)
weights = uncover.room("models.weights").load_weights(uncover.room("inference.restorer").default_weights())
again = uncover.restore({str(PHOTOS / "pens_hand.jpg")!r}, weights=weights, device="cpu")
assert (again.image == result.image).all()
assert pickle.loads(pickle.dumps(uncover.Restored)) is uncover.Restored
import {", ".join(OTHERS)}
assert all(module.mine for module in ({", ".join(OTHERS)}))
assert not [name for name in ("configs", "losses", "inference.restorer") if name in sys.modules]
assert not [path for path in sys.path if "_rooms" in path]
""")


@pytest.mark.long
def test_worker_processes_find_the_installed_rooms(installed, tmp_path):
    for words in ("synthesis set --groups 3 --long-side 300", "prepare set cut --size 128 --workers 2"):
        installed("-m", "uncover", *words.split())
    assert any((tmp_path / "cut" / "train" / "gt").iterdir())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_tells_of_itself(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    told = capsys.readouterr().out
    assert told.startswith(f"usage: uncover {name} ")
    assert f"\n    uncover {name} " in told, "an example"


def test_without_a_command_there_is_help_and_code_2(capsys):
    for words, code in (([], "2"), (["--help"], "0")):
        with pytest.raises(SystemExit, match=code):
            main(words)
    told, refused = capsys.readouterr()
    assert "such as `uncover restore photos results`; `uncover --help` names all" in refused
    assert all(f"\n    {name} " in told for name in COMMANDS)


OFFERED = {"uncover re": "restore", "uncover restore --sa": "--save-mask", "uncover completion z": "zsh",
           "uncover restore photos results --mode f": "full", "uncover restore pho": "photos"}  # fmt: skip


def test_bash_completes_commands_options_choices_and_files(capsys, tmp_path):
    assert main(["completion", "bash"]) == 0
    (tmp_path / "uncover.bash").write_text(capsys.readouterr().out)
    (tmp_path / "photos").touch()
    for typed, offered in OFFERED.items():
        words = f"COMP_WORDS=({typed}); COMP_CWORD={len(typed.split()) - 1}"
        script = f'. ./uncover.bash; {words}; _shtab_uncover uncover {typed.split()[-1]}; echo "${{COMPREPLY[@]}}"'
        told = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert told.stdout.strip() == offered


def test_other_shells_are_told_of_options_and_a_missing_shtab_is_named(capsys, monkeypatch):
    for shell, words in (("zsh", "#compdef uncover"), ("fish", "-l mask-mode ")):
        assert main(["completion", shell]) == 0
        told = capsys.readouterr().out
        assert words in told
        assert "replace add protect" in told
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(SystemExit, match="2"):
        main(["completion", "zsh"])
    assert "pip install shtab" in capsys.readouterr().err
