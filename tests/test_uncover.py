"""The package: what a wheel holds, the command `uncover`, `import uncover` beside others of such names, completion."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import predict
import uncover
from tests.conftest import PHOTOS, ROOT, python
from uncover.__main__ import COMMANDS, main

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
    kinds = (".py", ".yml", ".pdparams", ".webp", ".sha256", ".html", ".js", ".css")
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
    for path in (tmp_path / "theirs").iterdir():
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
