"""Packs the submission ZIP and runs it as the contest does.

    python -m test_code.build
    python -m test_code.build --weights runs/nafnet_phase3_all_gated/model_last.pdparams --images photos

The ZIP's root holds predict.py, model.pdparams, the same network as model.onnx with its notes, checked against the
eager model, the modules that predict.py imports, and nothing else. It is then unpacked in an empty folder and run there
as `python predict.py src_image_dir save_dir` in a fresh process that does not see the project, nor any package that the
contest does not have: onnxruntime has to run the network, or Paddle on a GPU. A second trial goes without onnxruntime,
and Paddle has to. The exit code is 1 when a trial fails, or a result is missing, misnamed or of another size.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from configs.schema import PredictConfig
from inference.engines.graphs import NAME
from inference.export import export
from models.weights import load_weights
from utils.child import ChildError, Ended, run_child
from utils.files import atomic_path

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "test_code" / "samples" / "photos"
# What the project uses and the contest's machine does not have.
MISSING_THERE = ("openvino", "jpeglib", "onnx", "tifffile", "imagecodecs")
# In the second trial, which is slow and only has to work.
_FEW = 1
# What predict.py says of its engine.
_ENGINE = re.compile(r"^(?:paddle|onnxruntime|openvino) \w+ on (?:cpu|gpu:\d+)(?=, )", re.MULTILINE)
# The same content gives the same ZIP, byte for byte, whenever it is built.
_TIMESTAMP = (2022, 1, 1, 0, 0, 0)


class DryRunError(RuntimeError):
    """The packed submission does not do what the contest asks for; the message says what."""


@dataclass(frozen=True)
class DryRun:
    """What one run of the unpacked submission took.

    Attributes:
        pictures: how many pictures were restored.
        seconds: the whole process, start-up included.
        seconds_per_picture: from the first result to the last, by picture; of a single picture the whole process.
        memory_gb: peak resident memory of the process, in 10^9 bytes.
        engine: what ran the network, as predict.py says it; empty when it says nothing.
    """

    pictures: int
    seconds: float
    seconds_per_picture: float
    memory_gb: float
    engine: str = ""


def pack(weights: Path, out: Path, root: Path = ROOT) -> list[str]:
    """Exports the network and writes the ZIP atomically; returns the names in it.

    Raises:
        FileNotFoundError: `weights` does not exist.
        BackendError: the exported network is not right.
    """
    if not weights.is_file():
        raise FileNotFoundError(f"{weights}: no such file of weights")
    files = {path.as_posix(): root / path for path in import_closure(root / "predict.py", root)}
    files["model.pdparams"] = weights
    with tempfile.TemporaryDirectory(prefix="submission-") as folder:
        loaded = load_weights(weights)
        export(loaded, PredictConfig.from_dict(loaded.predict), Path(folder))
        files.update({name: Path(folder) / name for name in (NAME, f"{NAME}.json")})
        with atomic_path(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted(files):
                entry = zipfile.ZipInfo(name, _TIMESTAMP)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, files[name].read_bytes())
    return sorted(files)


def import_closure(script: Path, root: Path) -> list[Path]:
    """Files of the project that `script` imports, directly or through others, with itself; sorted, relative to `root`.

    Imports inside functions count, and a package brings its `__init__.py`. What is not a file under `root` (the
    standard library, installed packages) is left out.
    """
    needed: set[Path] = set()
    waiting = [script.resolve()]
    root = root.resolve()
    while waiting:
        path = waiting.pop()
        if path in needed:
            continue
        needed.add(path)
        for module in _imported(path, root):
            waiting.extend(file for file in _files_of(module, root) if file not in needed)
    return sorted(path.relative_to(root) for path in needed)


def _imported(path: Path, root: Path) -> Iterator[str]:
    """Dotted names in the import statements of a file; `from a import b` may mean the module a.b as well."""
    package = path.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{name.name}" for name in node.names)


def _files_of(module: str, root: Path) -> Iterator[Path]:
    """The module's own file and the `__init__.py` of every package around it, as far as they exist under `root`."""
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        place = root.joinpath(*parts[:length])
        if (place / "__init__.py").is_file():
            yield place / "__init__.py"
        elif place.with_suffix(".py").is_file():
            yield place.with_suffix(".py")


def dry_run(archive: Path, images: list[Path], without: tuple[str, ...] = MISSING_THERE) -> DryRun:
    """Unpacks the ZIP in an empty folder, runs it on copies of `images` and checks every result.

    Args:
        without: packages that the process cannot import, installed or not.

    Raises:
        DryRunError: the process failed, or a result is missing, misnamed, of another size or unreadable.
        ValueError: no images, or two of the same name.
    """
    names = sorted(path.name for path in images)
    if not names or len(set(names)) != len(names):
        raise ValueError(f"expected pictures with different names, got {names or 'none'}")
    with tempfile.TemporaryDirectory(prefix="submission-") as folder:
        here = Path(folder) / "submission"
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(here)
        (here / "src_image_dir").mkdir()
        for path in images:
            shutil.copyfile(path, here / "src_image_dir" / path.name)
        blocker = Path(folder) / "blocker"
        blocker.mkdir()
        # None in the place of a module is what Python takes for "not to be found", for imports and for questions.
        (blocker / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({without!r}))\n")
        run = _run(here, blocker)
        ended = _check_results(here / "src_image_dir", here / "save_dir", names)
    each = (ended[-1] - ended[0]) / (len(ended) - 1) if len(ended) > 1 else run.seconds
    engine = _ENGINE.search(run.words)
    return DryRun(len(names), run.seconds, each, run.memory_gb, engine.group() if engine else "")


def _run(here: Path, blocker: Path) -> Ended:
    """Runs the unpacked predict.py with the folder `blocker` before all packages."""
    # Neither the user's own packages nor what PYTHONPATH names: only what is installed and what is packed is there.
    command = [sys.executable, "-s", "predict.py", "src_image_dir", "save_dir"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    # An exported network that earlier runs left in the user's cache is not there at the contest.
    environment.update(PYTHONPATH=str(blocker), UNCOVER_CACHE=str(blocker / "cache"))
    try:
        return run_child(command, here, environment)
    except ChildError as error:
        said = f"{error.ending}:\n{error.words[-2000:]}"
        raise DryRunError(f"`python predict.py src_image_dir save_dir` {said}") from error


def _check_results(source: Path, results: Path, names: list[str]) -> list[float]:
    """Compares names and sizes; returns when each result was finished, in order."""
    found = sorted(path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file())
    faults = [f"missing: {name}" for name in names if name not in found]
    faults += [f"not asked for: {name}" for name in found if name not in names]
    for name in set(names) & set(found):
        with Image.open(source / name) as before:
            expected = before.size
        try:
            with Image.open(results / name) as after:
                after.load()
                size = after.size
        except OSError as error:
            faults.append(f"unreadable: {name} ({error})")
            continue
        if size != expected:
            faults.append(f"of another size: {name} is {size[0]}x{size[1]}, expected {expected[0]}x{expected[1]}")
    if faults:
        raise DryRunError("wrong results: " + "; ".join(sorted(faults)))
    return sorted((results / name).stat().st_mtime for name in names)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=ROOT / "test_code" / "model.pdparams", help="file of weights")
    parser.add_argument("--out", type=Path, default=Path("submission.zip"), help="the ZIP to write")
    parser.add_argument("--images", type=Path, default=SAMPLES, help="folder whose *.jpg are tried")
    parser.add_argument("--limit-seconds", type=float, default=2.0, help="the contest's limit for one picture")
    parser.add_argument("--limit-memory-gb", type=float, default=10.0, help="the contest's limit of memory")
    parser.add_argument("--enforce-limits", action="store_true", help="fail when a limit is exceeded on this machine")
    options = parser.parse_args(arguments)
    try:
        # The contest hands over *.jpg and nothing else.
        images = sorted(options.images.glob("*.jpg"))
        if not images:
            raise FileNotFoundError(f"{options.images}: no *.jpg to try the submission on; name a folder with --images")
        # What has not passed its trial must not lie about under the submission's name.
        with atomic_path(options.out) as candidate:
            names = pack(options.weights, candidate)
            result = dry_run(candidate, images)
            require_engine(result, "onnxruntime", "everything that the contest has")
            bare = dry_run(candidate, images[:_FEW], (*MISSING_THERE, "onnxruntime"))
            require_engine(bare, "paddle", "no onnxruntime")
        print(f"{options.out}: {len(names)} files, {options.out.stat().st_size / 1e6:.1f} MB")
        print(f"without onnxruntime: {bare.engine}, {bare.seconds:.1f} s for {bare.pictures} picture with start-up")
    except (OSError, ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return report(result, options.limit_seconds, options.limit_memory_gb, options.enforce_limits)


def require_engine(result: DryRun, name: str, where: str) -> None:
    """Checks what ran the network; a GPU is always welcome.

    Raises:
        DryRunError: something else than `name` on a CPU.
    """
    if not result.engine.startswith(f"{name} ") and " on gpu:" not in result.engine:
        raise DryRunError(f"with {where}, {name} should run the network, but {result.engine or 'nothing known'} did")


def report(result: DryRun, limit_seconds: float, limit_memory_gb: float, enforce: bool) -> int:
    """Prints the figures against the limits; returns the exit code."""
    print(f"{result.pictures} pictures restored by {result.engine or 'an unknown engine'}, names and sizes right; "
          f"{result.seconds:.1f} s with start-up")
    rows = (
        ("seconds per picture", result.seconds_per_picture, limit_seconds, "the limit is meant for a V100"),
        ("peak memory in GB", result.memory_gb, limit_memory_gb, "main memory of the process"),
    )
    exceeded = False
    for name, value, limit, note in rows:
        exceeded |= value > limit
        print(f"{name}: {value:.2f}, limit {limit:g} ({note}): {'EXCEEDED' if value > limit else 'kept'}")
    if exceeded and not enforce:
        print("a limit is exceeded on this machine; that is an error with --enforce-limits only")
    return 1 if exceeded and enforce else 0


if __name__ == "__main__":
    sys.exit(main())
