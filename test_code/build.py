"""Packs the submission ZIP and runs it as the contest does.

    python -m test_code.build
    python -m test_code.build --weights runs/nafnet_phase3_all_gated/model_last.pdparams --images photos

The ZIP's root holds predict.py, the modules that it imports, model.pdparams, and its networks as model.onnx and
locator.onnx with their notes. It is then unpacked in an empty folder and run there as `python predict.py src_image_dir
save_dir` in a fresh process that sees neither the project nor any package that the contest does not have: onnxruntime
has to run the network, or Paddle on a GPU; in a second trial Paddle alone. The exit code is 2 when a trial fails.
"""

import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from modulefinder import ModuleFinder
from pathlib import Path
from typing import NamedTuple

from data.images import SUFFIXES, BadImageError, pictures_below, read_rgb
from inference.export import export
from models.weights import load_weights
from utils.child import ChildError, Ended, run_child
from utils.command import DONE, command, parser_of
from utils.files import atomic_path, check_writable, naming

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "test_code" / "samples" / "photos"
# What the project uses and the contest's machine does not have.
MISSING_THERE = ("openvino", "jpeglib", "onnx", "tifffile", "imagecodecs", "pikepdf", "pillow_heif")
# The contest's, for one picture; on another machine they are told and not enforced.
LIMIT_SECONDS, LIMIT_MEMORY_GB = 2.0, 10.0
# What predict.py says of its engine.
_ENGINE = re.compile(r"\b(?:paddle|onnxruntime|openvino) \w+ on (?:cpu|gpu:\d+)(?=[;,\n])")
_TIMESTAMP = (2022, 1, 1, 0, 0, 0)  # The same content gives the same ZIP, byte for byte, whenever it is built


class DryRun(NamedTuple):
    """What one run of the unpacked submission took."""

    ended: Ended  # the process, start-up included
    seconds_per_picture: float  # from the first result to the last; of a single picture the whole process
    engine: str  # what ran the network, as predict.py says it


def pack(weights: Path, out: Path) -> list[str]:
    """Exports the networks and writes the ZIP atomically; returns the names in it."""
    finder = ModuleFinder([str(ROOT)])  # What predict.py imports, also in functions and through others, with itself
    finder.run_script(str(ROOT / "predict.py"))
    modules = (Path(module.__file__) for module in finder.modules.values() if module.__file__)
    files = {path.relative_to(ROOT).as_posix(): path for path in modules}
    files |= {"model.pdparams": weights, "inference/report.html": ROOT / "inference" / "report.html"}
    with tempfile.TemporaryDirectory(prefix="submission-") as folder:
        export(load_weights(weights), Path(folder))
        files.update({path.name: path for path in Path(folder).glob("*.onnx*")})
        with atomic_path(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted(files):
                entry = zipfile.ZipInfo(name, _TIMESTAMP)
                entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                archive.writestr(entry, files[name].read_bytes())
    return sorted(files)


def dry_run(archive: Path, images: list[Path], engine: str = "onnxruntime") -> DryRun:
    """Unpacks the ZIP in an empty folder, runs it on copies of `images` and checks every result.

    What the contest does not have, and with another `engine` onnxruntime, cannot be imported there. RuntimeError: it
    failed, a result is missing, misnamed or of another size, or neither `engine` nor a GPU ran the network.
    """
    without = MISSING_THERE if engine == "onnxruntime" else (*MISSING_THERE, "onnxruntime")
    with tempfile.TemporaryDirectory(prefix="submission-") as folder, naming(folder):
        here, blocker = Path(folder, "submission"), Path(folder, "blocker")
        shutil.unpack_archive(archive, here, "zip")
        source, results = here / "src_image_dir", here / "save_dir"
        source.mkdir()
        for path in images:
            shutil.copyfile(path, source / path.name)
        blocker.mkdir()
        # What has None in its place, Python takes for not to be found.
        (blocker / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({without!r}))\n")
        # Neither the user's own packages, nor what PYTHONPATH names, nor networks that earlier runs left in the cache.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        environment.update(PYTHONPATH=str(blocker), UNCOVER_CACHE=str(blocker / "cache"))
        try:
            run = run_child([sys.executable, "-s", "predict.py", source.name, results.name], here, environment)
        except ChildError as error:
            told = f"{error.ending}:\n{error.words[-2000:]}"
            raise RuntimeError(f"`python predict.py {source.name} {results.name}` {told}") from error
        expected, found = _sizes(source), _sizes(results)
        faults = [f"{name}: expected {expected.get(name, 'nothing')}, found {found.get(name, 'nothing')}"
                  for name in sorted({*expected, *found}) if expected.get(name) != found.get(name)]
        if faults:
            raise RuntimeError(f"wrong results: {'; '.join(faults)}")
        ended = sorted((results / name).stat().st_mtime for name in expected)
    each = (ended[-1] - ended[0]) / (len(ended) - 1) if len(ended) > 1 else run.seconds
    used = (_ENGINE.findall(run.words) or ["nothing known"])[0]
    if not used.startswith(f"{engine} ") and " on gpu:" not in used:
        raise RuntimeError(f"without {', '.join(without)}, {engine} should run the network, but {used} did")
    return DryRun(run, each, used)


def _sizes(folder: Path) -> dict[str, str]:
    """Width and height of each picture by its name, or that it cannot be read."""
    sizes = {}
    for name in map(str, pictures_below(folder)):
        sizes[name] = "what is unreadable"
        with suppress(BadImageError):
            sizes[name] = "{1}x{0}".format(*read_rgb(folder / name).shape)
    return sizes


@command(ValueError, RuntimeError)
def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--weights", type=Path, default=ROOT / "test_code" / "gated.pdparams", help="file of weights")
    parser.add_argument("--out", type=Path, default=Path("submission.zip"), help="the ZIP to write")
    parser.add_argument("--images", type=Path, default=SAMPLES, help="folder whose JPEGs are tried")
    options = parser.parse_args(arguments)
    check_writable(options.out)
    # The contest hands over JPEGs and nothing else; predict.py leaves hidden files out.
    images = sorted(path for path in options.images.glob("[!.]*")
                    if SUFFIXES.get(path.suffix.lower()) == "JPEG" and path.is_file())
    if not images:
        raise FileNotFoundError(f"{options.images}: no JPEG to try the submission on; name a folder with --images")
    # What has not passed its trial must not lie about under the submission's name.
    with atomic_path(options.out) as candidate:
        names = pack(options.weights, candidate)
        result = dry_run(candidate, images)
        # Slow, and only has to work: one picture.
        bare = dry_run(candidate, images[:1], "paddle")
    print(f"{options.out}: {len(names)} files, {options.out.stat().st_size / 1e6:.1f} MB")
    print(f"without onnxruntime: {bare.engine}, {bare.ended.seconds:.1f} s for one picture with start-up")
    print(f"{len(images)} pictures restored by {result.engine}, names and sizes right; "
          f"{result.ended.seconds:.1f} s with start-up")
    for name, value, limit, note in (
        ("seconds per picture", result.seconds_per_picture, LIMIT_SECONDS, "the limit is meant for a V100"),
        ("peak memory in GB", result.ended.memory_gb, LIMIT_MEMORY_GB, "main memory of the process"),
    ):
        print(f"{name}: {value:.2f}, limit {limit:g} ({note}): {'EXCEEDED' if value > limit else 'kept'}")
    return DONE


if __name__ == "__main__":
    raise SystemExit(main())
