"""Packs the submission ZIP and runs it as the contest does.

    python -m test_code.build
    python -m test_code.build --weights runs/nafnet_phase3_all_gated/model_last.pdparams --images photos

The ZIP's root holds predict.py, model.pdparams, its networks as model.onnx and locator.onnx with their notes, the
modules that predict.py imports, and nothing else. It is then unpacked in an empty folder and run there as `python
predict.py src_image_dir save_dir` in a fresh process that sees neither the project nor any package that the contest
does not have: onnxruntime has to run the network, or Paddle on a GPU; in a second trial Paddle alone. The exit code is
2 when a trial fails, or a result is missing, misnamed or of another size.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from modulefinder import ModuleFinder
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from data.kinds import SUFFIXES
from inference.export import export
from inference.record import RECORD
from models.weights import load_weights
from utils.child import ChildError, run_child
from utils.command import DONE, command
from utils.files import atomic_path, check_writable, naming

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "test_code" / "samples" / "photos"
# What the project uses and the contest's machine does not have.
MISSING_THERE = ("openvino", "jpeglib", "onnx", "tifffile", "imagecodecs", "pikepdf", "pillow_heif")
# The contest's, for one picture; on another machine they are told and not enforced.
LIMIT_SECONDS, LIMIT_MEMORY_GB = 2.0, 10.0
# What predict.py says of its engine.
_ENGINE = re.compile(r"\b(?:paddle|onnxruntime|openvino) \w+ on (?:cpu|gpu:\d+)(?=[;,\n])")
# The same content gives the same ZIP, byte for byte, whenever it is built.
_TIMESTAMP = (2022, 1, 1, 0, 0, 0)


class DryRunError(RuntimeError):
    """The packed submission does not do what the contest asks for; the message says what."""


class DryRun(NamedTuple):
    """What one run of the unpacked submission took."""

    pictures: int
    seconds: float  # of the whole process, start-up included
    seconds_per_picture: float  # from the first result to the last; of a single picture the whole process
    memory_gb: float  # peak resident memory of the process, in 10^9 bytes
    engine: str  # what ran the network, as predict.py says it


def pack(weights: Path, out: Path) -> list[str]:
    """Exports the networks and writes the ZIP atomically; returns the names in it."""
    files = {path.as_posix(): ROOT / path for path in import_closure(ROOT / "predict.py", ROOT)}
    files["model.pdparams"] = weights
    with tempfile.TemporaryDirectory(prefix="submission-") as folder:
        export(load_weights(weights), Path(folder))
        files.update({path.name: path for path in Path(folder).glob("*.onnx*")})
        with atomic_path(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted(files):
                entry = zipfile.ZipInfo(name, _TIMESTAMP)
                entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                archive.writestr(entry, files[name].read_bytes())
    return sorted(files)


def import_closure(script: Path, root: Path) -> list[Path]:
    """Files below `root` that `script` imports, also in functions and through others, with itself; sorted, relative."""
    root, finder = root.resolve(), ModuleFinder([str(root.resolve())])
    finder.run_script(str(script.resolve()))
    return sorted({Path(module.__file__).relative_to(root) for module in finder.modules.values() if module.__file__})


def dry_run(
    archive: Path, images: list[Path], without: tuple[str, ...] = MISSING_THERE, engine: str = "onnxruntime"
) -> DryRun:
    """Unpacks the ZIP in an empty folder, runs it on copies of `images` and checks every result.

    `without` are packages that the process cannot import, installed or not. `DryRunError`: it failed; a result is
    missing, misnamed, of another size or unreadable; or something else than `engine`, or a GPU, ran the network.
    """
    with tempfile.TemporaryDirectory(prefix="submission-") as folder, naming(folder):
        here, blocker = Path(folder, "submission"), Path(folder, "blocker")
        shutil.unpack_archive(archive, here, "zip")
        (here / "src_image_dir").mkdir()
        for path in images:
            shutil.copyfile(path, here / "src_image_dir" / path.name)
        blocker.mkdir()
        # None in the place of a module is what Python takes for "not to be found", for imports and for questions.
        (blocker / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({without!r}))\n")
        # Neither the user's own packages, nor what PYTHONPATH names, nor networks that earlier runs left in the cache.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        environment.update(PYTHONPATH=str(blocker), UNCOVER_CACHE=str(blocker / "cache"))
        try:
            run = run_child([sys.executable, "-s", "predict.py", "src_image_dir", "save_dir"], here, environment)
        except ChildError as error:
            said = f"{error.ending}:\n{error.words[-2000:]}"
            raise DryRunError(f"`python predict.py src_image_dir save_dir` {said}") from error
        ended = _check_results(here / "src_image_dir", here / "save_dir")
    each = (ended[-1] - ended[0]) / (len(ended) - 1) if len(ended) > 1 else run.seconds
    used = _ENGINE.search(run.words)
    used = used.group() if used else "nothing known"
    if not used.startswith(f"{engine} ") and " on gpu:" not in used:
        raise DryRunError(f"without {', '.join(without)}, {engine} should run the network, but {used} did")
    return DryRun(len(ended), run.seconds, each, run.memory_gb, used)


def _check_results(source: Path, results: Path) -> list[float]:
    """Compares names and sizes; returns when each result was finished, in order."""
    names = {path.name for path in source.iterdir()}
    found = {path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file()} - {RECORD}
    faults = [f"missing: {name}" for name in names - found] + [f"not asked for: {name}" for name in found - names]
    for name in names & found:
        try:
            with Image.open(source / name) as before, Image.open(results / name) as after:
                after.load()
            if after.size != before.size:
                faults.append("of another size: {} is {}x{}, expected {}x{}".format(name, *after.size, *before.size))
        except OSError as error:
            faults.append(f"unreadable: {name} ({error})")
    if faults:
        raise DryRunError("wrong results: " + "; ".join(sorted(faults)))
    return sorted((results / name).stat().st_mtime for name in names)


@command(ValueError, RuntimeError)
def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=ROOT / "test_code" / "gated.pdparams", help="file of weights")
    parser.add_argument("--out", type=Path, default=Path("submission.zip"), help="the ZIP to write")
    parser.add_argument("--images", type=Path, default=SAMPLES, help="folder whose JPEGs are tried")
    options = parser.parse_args(arguments)
    check_writable(options.out)
    # The contest hands over JPEGs and nothing else; predict.py leaves hidden files out.
    jpegs = (path for path in options.images.glob("[!.]*") if SUFFIXES.get(path.suffix.lower()) == "JPEG")
    images = sorted(path for path in jpegs if path.is_file())
    if not images:
        raise FileNotFoundError(f"{options.images}: no JPEG to try the submission on; name a folder with --images")
    # What has not passed its trial must not lie about under the submission's name.
    with atomic_path(options.out) as candidate:
        names = pack(options.weights, candidate)
        result = dry_run(candidate, images)
        # Slow, and only has to work: one picture.
        bare = dry_run(candidate, images[:1], (*MISSING_THERE, "onnxruntime"), "paddle")
    print(f"{options.out}: {len(names)} files, {options.out.stat().st_size / 1e6:.1f} MB")
    print(f"without onnxruntime: {bare.engine}, {bare.seconds:.1f} s for one picture with start-up")
    how = f"restored by {result.engine}, names and sizes right; {result.seconds:.1f} s with start-up"
    print(f"{result.pictures} pictures {how}")
    for name, value, limit, note in (
        ("seconds per picture", result.seconds_per_picture, LIMIT_SECONDS, "the limit is meant for a V100"),
        ("peak memory in GB", result.memory_gb, LIMIT_MEMORY_GB, "main memory of the process"),
    ):
        print(f"{name}: {value:.2f}, limit {limit:g} ({note}): {'EXCEEDED' if value > limit else 'kept'}")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
