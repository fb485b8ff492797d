"""The pinned requirements: complete, and the same on a CPU and on a GPU."""

from __future__ import annotations

import ast
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("configs", "data", "inference", "losses", "metrics", "models", "test_code", "uncover", "utils", "web")
# Used when the user has installed them, and never needed.
OPTIONAL = {"visualdl", "tensorboardX", "ray", "fsspec"}
DISTRIBUTION_OF = {"cv2": "opencv-python-headless", "PIL": "pillow", "yaml": "pyyaml", "paddle": "paddlepaddle"}
DISTRIBUTION_OF |= {"skimage": "scikit-image", "pillow_heif": "pillow-heif"}


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    pin = re.compile(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*")
    assert all(pin.fullmatch(line) for line in wanted), "every line pins a version"
    return {line.split("==")[0].lower().replace("_", "-"): line.split("==")[1] for line in wanted}


def test_cpu_and_gpu_requirements_differ_in_paddle_alone():
    cpu, gpu = pins("requirements-cpu.txt"), pins("requirements.txt")
    assert cpu.pop("paddlepaddle") == "3.2.2"
    assert gpu.pop("paddlepaddle-gpu") == "2.6.2"
    assert cpu == gpu


def test_what_the_page_brings_along_is_what_the_others_bring():
    cpu, page = pins("requirements-cpu.txt"), pins("requirements-web.txt")
    shared = cpu.keys() & page.keys()
    assert shared
    assert {name: cpu[name] for name in shared} == {name: page[name] for name in shared}


def imported_modules() -> set[str]:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")] + list(ROOT.glob("*.py"))
    names = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(node.module.split(".")[0])
    scripts = {path.stem for path in ROOT.glob("*.py")}
    return names - set(sys.stdlib_module_names) - set(PACKAGES) - scripts - OPTIONAL


def test_every_imported_package_is_pinned():
    pinned = pins("requirements-cpu.txt") | pins("requirements-web.txt")
    missing = {name for name in imported_modules() if DISTRIBUTION_OF.get(name, name).lower() not in pinned}
    assert not missing, f"imported but not pinned in requirements-cpu.txt or -web.txt: {sorted(missing)}"


@pytest.mark.parametrize("name", ["numpy", "opencv-python-headless", "pillow"])
def test_the_tests_run_on_the_pinned_versions(name):
    assert metadata.version(name) == pins("requirements-cpu.txt")[name]
