"""Says what this machine can do, and for everything that is wrong, what to mend.

    python -m utils.doctor
    python -m utils.doctor --weights runs/phase2/model_best.pdparams

Every engine on every device restores a page with the weights, in a process of its own, after its numbers were
compared with the eager network's. Times are in seconds, memory in GB (10^9 bytes). The exit code is 0 when prediction
works, whatever else is missing, and 1 when it does not.
"""

import importlib.util
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from data.photos.jpeg import JPEGLIB_VERSION
from inference.engines.opened import FOLDER_VARIABLE, PRECISIONS, cache_folder
from inference.restorer import Restorer, default_weights
from models.weights import load_weights
from utils.child import ChildError, ask
from utils.command import command, parser_of, sentence
from utils.machine import available_bytes, available_cores, default_threads, gpu_shows

GOOD, NOTE, WRONG = "ok", "note", "WRONG"
# What goes with which packages; an extra comes with `pip install 'uncover[EXTRA]'`.
PARTS = {
    "JPEG by blocks": ("jpeglib",), "TIFF": ("tifffile", "imagecodecs"), "ONNX export": ("onnx",),
    "drawn pages": ("matplotlib",), ".safetensors": ("safetensors",), "extra heif": ("pillow-heif",),
    "extra pdf": ("pikepdf",), "extra web": ("fastapi", "uvicorn", "python-multipart"), "extra ray": ("ray", "fsspec"),
    "extra completion": ("shtab",),
}  # fmt: skip
_TOLD = ("paddlepaddle", "paddlepaddle-gpu", "onnxruntime", "openvino", "numpy", "opencv-python-headless", "pillow")
_NEEDED_BYTES = 1.5e9  # One photo of 12 megapixels on its way, with the engine (README.md, Speed and memory)


class Finding(NamedTuple):
    """One line of the report."""

    state: str  # GOOD; NOTE: something optional is missing; WRONG: to be mended
    subject: str
    words: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.state:<6}{self.subject:<17}{self.words}" + (f"\n{'':23}-> {self.mend}" if self.mend else "")


def known_versions() -> str:
    """Of Python, of the engines and of what reads pictures, in one line."""
    known = [f"{name} {version}" for name in _TOLD if (version := _version(name))]
    return f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {', '.join(known)}"


def check_versions() -> Iterator[Finding]:
    yield Finding(GOOD, "versions", known_versions())
    for part, names in PARTS.items():
        found = {name: _version(name) for name in names}
        missing = [name for name in names if not found[name]]
        if found.get("jpeglib", JPEGLIB_VERSION) not in (None, JPEGLIB_VERSION):
            missing = [f"jpeglib=={JPEGLIB_VERSION}"]
        if missing:
            yield Finding(NOTE, part, f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}")
        else:
            yield Finding(GOOD, part, ", ".join(f"{name} {version}" for name, version in found.items()))


def check_machine() -> Iterator[Finding]:
    free, total = available_bytes(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if free is not None:
        state, mend = (GOOD, "") if free >= _NEEDED_BYTES else (WRONG, "end other programs, or raise the group's limit")
        yield Finding(state, "memory", f"{free / 1e9:.1f} GB free for this process, of {total / 1e9:.1f} GB; "
                      f"a photo of 12 megapixels takes up to {_NEEDED_BYTES / 1e9:g} GB", mend)
    threads = f"{default_threads()} threads" + (" (OMP_NUM_THREADS)" if os.environ.get("OMP_NUM_THREADS") else "")
    yield Finding(GOOD, "processors", f"{available_cores()} of {os.cpu_count()} usable, {threads}")
    for subject, folder, variable in (("cache", cache_folder(), FOLDER_VARIABLE),
                                      ("temporary", Path(tempfile.gettempdir()), "TMPDIR")):  # fmt: skip
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
            yield Finding(GOOD, subject, f"{folder}, {shutil.disk_usage(folder).free / 1e9:.1f} GB free")
        except OSError as error:
            yield Finding(WRONG, subject, f"{folder}: cannot be written to ({error.strerror})",
                          f"set {variable} to a folder that can be written to")  # fmt: skip


def check_weights(file: Path | None) -> Finding:
    try:
        file = file or default_weights()
        weights = load_weights(file)
    except (OSError, ValueError) as error:
        return Finding(WRONG, "weights", sentence(error), "fetch the file again, or name another one with --weights")
    restores = weights.model and ("a Restormer" if "dim" in weights.model else "a NAFNet")
    held = " and ".join(filter(None, (weights.locator and "a locator", restores)))
    return Finding(GOOD, "weights", f"{file}: {held}")


def check_engines(file: Path | None) -> Iterator[Finding]:
    """Each engine on each device, in a process of its own."""
    for device, engines in PRECISIONS.items():
        gpu = device == "gpu"
        if gpu and not gpu_shows():
            yield Finding(GOOD, "gpu", "none shows, the CPU does the work")
            continue
        for name in engines:
            subject = f"{device} {name}"
            if importlib.util.find_spec(name) is None:
                yield Finding(NOTE, subject, f"{name} is not installed", "" if gpu else f"pip install {name}")
                continue
            try:
                said = ask("inference.doctor:restore_page", [file and str(file.absolute()), device, name])
                yield Finding(GOOD, subject, f"{said['line']}: a page in {said['seconds']:.2f} s")
            except ChildError as error:
                # Without how the process ended, and the name of its error.
                reason = re.sub(r"^.*?: (?:[\w.]+Error: )?", "", str(error), count=1)
                mend = "the CPU does the work meanwhile; see Versions in README.md" if gpu else f"reinstall {name}"
                yield Finding(WRONG, subject, reason, mend)


def restore_page(order: list[Any]) -> dict[str, Any]:
    """In a process of its own: an empty page, with a disc in the colour of skin over it, as an engine restores it."""
    weights, device, backend = order
    page = np.full((384, 288, 3), 235, np.uint8)
    cv2.circle(page, (288, 200), 70, (214, 160, 130), -1)
    restorer = Restorer(weights, device, backend=backend, mode="auto")
    restorer(page)
    start = time.perf_counter()
    restorer(page)
    return {"line": restorer.engine, "seconds": time.perf_counter() - start}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@command(ValueError)
def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--weights", type=Path, help="file of weights; default: those that predict.py takes")
    file, found = parser.parse_args(arguments).weights, []
    weights = check_weights(file)
    engines = check_engines(file) if weights.state == GOOD else ()
    for finding in chain(check_versions(), check_machine(), [weights], engines):
        print(finding, flush=True)
        found.append(finding)
    works = any(one.state == GOOD and one.subject.startswith(("cpu ", "gpu ")) for one in found)
    wrong = sum(one.state == WRONG for one in found)
    print(f"\nprediction {'works' if works else 'does not work'}" + (f"; to be mended: {wrong}" if wrong else ""))
    return 0 if works else 1
