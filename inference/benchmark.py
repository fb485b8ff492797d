"""Times the restoration of photos of 10 megapixels with everything that is installed, side by side in one run.

    python -m inference.benchmark --csv benchmark.csv > benchmark.md
    python -m inference.benchmark --pictures photos --only "mode auto"

Every case runs once, in a process of its own, with OMP_NUM_THREADS threads or one for each core; stop other programs
first, and run it twice to see what they change.
"""

import argparse
import os
import platform
import re
import resource
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import cv2

from data.images import read_rgb, upright_size, write_image
from inference.doctor import known_versions
from inference.engines.opened import FOLDER_VARIABLE, PRECISIONS
from inference.files import list_pictures
from inference.folder import FAILED, Outcome, restore_folder
from inference.restorer import Restorer, default_weights
from models.weights import load_weights, save_weights
from utils.child import ChildError, ask
from utils.command import command, parser_of
from utils.files import check_writable, write_csv
from utils.machine import available_cores, default_threads, progress

PHOTOS = 5
SIDES = (2811, 3770)  # What most of the contest's photos measure: short side, long side
SAMPLES = Path(__file__).resolve().parents[1] / "test_code" / "samples" / "photos"
STEPS = ("decode", "locate", "restore", "compose", "encode")
TABLE = {
    "what": "case", "engine": "engine", **{step: step for step in STEPS}, "file to file": "total",
    "in a batch": "batch", "memory GB": "memory",
}  # fmt: skip
REMARK = """
* Seconds of one photo: medians over the photos; engines are warm. `in a batch`: from one finished file of the pipeline
  to the next. Memory: the peak of a process that did nothing else.
"""


class Case(NamedTuple):
    """One row of the table: a network, the rest as `Restorer` takes it."""

    network: str
    mode: str = "auto"
    backend: str = "auto"
    precision: str = "auto"
    device: str = "auto"

    @property
    def name(self) -> str:
        """Unique among the cases of a run, for the table and --only."""
        device = f" on {self.device}" if self.device.startswith("gpu") else ""
        engine = "auto" if self.backend == "auto" else f"{self.backend} {self.precision}{device}"
        return f"{self.network}, mode {self.mode}, {engine}"


def all_cases(networks: Sequence[str], device: str) -> list[Case]:
    """The rows of a run, on the CPU and on `device`: of each network all engines, of the last all modes."""
    engines = [(backend, precision, place) for place in dict.fromkeys(("cpu", device))
               for backend, precisions in PRECISIONS[place.partition(":")[0]].items()
               for precision in precisions]  # fmt: skip
    cases = [Case(network, "auto", *engine) for network in networks for engine in ((), *engines)]
    return cases + [Case(networks[-1], mode) for mode in ("tiles", "full")]


def put_photos(folder: Path, source: Path | None) -> None:
    """Copies the first `PHOTOS` JPEG photos of `source`, or enlarges as many of the bundled ones, into `folder`."""
    found = sorted(path for path in (source or SAMPLES).iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
    if len(found) < 2:
        raise ValueError(f"{source}: {len(found)} photos named *.jpg, expected 2 or more, as the first only warms up")
    folder.mkdir()
    for path in found[:PHOTOS]:
        if source:
            shutil.copy(path, folder)
            continue
        pixels = read_rgb(path)
        sides = SIDES if pixels.shape[0] >= pixels.shape[1] else SIDES[::-1]
        write_image(folder / path.name, cv2.resize(pixels, sides, interpolation=cv2.INTER_CUBIC), quality=92)


def measure(case: Mapping[str, Any]) -> dict[str, Any]:
    """In a process of its own: times photos in the pipeline and one after the other; the first only warms up.

    `case`: fields of `Case` with `weights`, a file, and `folder`, which holds `pictures` and gets `results`. Returns
    what `TABLE` shows: the engine, seconds (medians; "batch" per photo in the pipeline), the peak of memory in GB."""
    restorer = Restorer(case["weights"], **{name: case[name] for name in ("device", "mode", "backend", "precision")})
    answer: dict[str, Any] = {"engine": restorer.engine.removesuffix(" on cpu")}
    pictures, results = (Path(case["folder"], name) for name in ("pictures", "results"))
    photos = sorted(pictures.iterdir())[1:]
    _restore(restorer, pictures, results)
    # When an outcome is told says less: it waits for the network to be through with the next photo.
    ended = [path.stat().st_mtime for path in results.iterdir()]
    answer["batch"] = (max(ended) - min(ended)) / len(photos)
    outcomes = [outcome for path in photos for outcome in _restore(restorer, path, results)]
    answer |= {step: median(outcome.steps.get(step, 0.0) for outcome in outcomes) for step in STEPS}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return answer | {"total": median(outcome.seconds for outcome in outcomes), "memory": peak / 1e9}


def _restore(restorer: Restorer, source: Path, results: Path) -> list[Outcome]:
    outcomes = list(restore_folder(restorer, list_pictures(source, results), results, overwrite=True))
    for outcome in outcomes:
        if outcome.status == FAILED:
            raise RuntimeError(str(outcome))
    return outcomes


def describe() -> str:
    """The machine in one line: processor, cores, what other programs make of them, versions."""
    named = re.search(r"^model name\s*: *(.*)", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
    cores = f"{available_cores()} cores (load {os.getloadavg()[0]:.1f} at the start), {default_threads()} threads"
    return f"{named[1] if named else platform.machine()}; {cores}; {known_versions()}"


def table_of(heads: Sequence[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """The lines of a table in Markdown."""
    return [f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows)]


def write_tables(options: argparse.Namespace, about: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints the table for people, `about` above and remarks below it; the file that was asked for has every number."""
    values = [[row.get(name, "") for name in TABLE.values()] for row in rows if not row["problem"]]
    cells = ([f"{value:.2f}" if isinstance(value, float) else value for value in row] for row in values)
    problems = [f"* {row['case']}: not measured: {row['problem']}" for row in rows if row["problem"]]
    if options.csv:
        columns = list(dict.fromkeys(key for row in rows for key in row))
        write_csv(options.csv, [columns, *([row.get(column, "") for column in columns] for row in rows)])
    print("\n".join([about, "", *table_of(list(TABLE), cells), REMARK, *problems]).rstrip())


def run(options: argparse.Namespace, folder: Path) -> int:
    """Measures all cases in turn, with an empty `folder` for what is made on the way; 1 when nothing was measured."""
    machine = describe()
    shipped = load_weights(options.weights or default_weights())
    # A network that restores beside a locator is told where, and does nothing alone.
    weights = load_weights(default_weights("tiles")) if shipped.locator else shipped
    put_photos(folder / "pictures", options.pictures)
    sizes = ["{}x{}".format(*upright_size(path)) for path in (folder / "pictures").iterdir()]
    about = f"Machine: {machine}.\n\nPhotos: {len(sizes)} JPEG, {', '.join(sorted(set(sizes)))}."
    networks = ({"locator": shipped} if shipped.locator else {}) | {f"width {weights.model['width']}": weights}
    for name, network in networks.items():
        save_weights(folder / f"{name}.pdparams", network)
    variables = {"OMP_NUM_THREADS": str(default_threads()), FOLDER_VARIABLE: str(folder / "cache")}
    # Networks are exported here, by others: that is part of no photo, nor is its memory.
    for name in networks:
        opened = ask("inference.doctor:restore_page", [str(folder / f"{name}.pdparams"), "auto", "auto"], **variables)
    cases = all_cases(list(networks), opened["line"].rpartition(" on ")[2])
    chosen = [case for case in cases if not options.only or any(words in case.name for words in options.only)]
    if not chosen:
        raise ValueError(f"--only {', '.join(options.only)}: no case holds that; there are: "
                         + "; ".join(case.name for case in cases))
    rows = []
    for case in progress(chosen, unit="case", desc="measuring"):
        rows.append({"case": case.name, "machine": machine, "problem": ""})
        try:
            order = case._asdict() | {"weights": str(folder / f"{case.network}.pdparams"), "folder": str(folder)}
            rows[-1] |= ask("inference.benchmark:measure", order, **variables)
        except ChildError as error:
            rows[-1]["problem"] = str(error)
    write_tables(options, about, rows)
    return 1 if all(row["problem"] for row in rows) else 0


@command(ValueError, ChildError)
def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of(__doc__, "python -m inference.benchmark")
    add = parser.add_argument
    add("--pictures", type=Path, help=f"folder of JPEG photos, {PHOTOS} are taken; default: the bundled ones, enlarged")
    add("--weights", type=Path, help="file of weights of a NAFNet; default: as predict.py, and its locator too")
    add("--only", action="append", metavar="WORDS", help="only cases whose name holds them; may be given again")
    add("--csv", type=Path, help="file for every number")
    options = parser.parse_args(arguments)
    if options.csv:
        check_writable(options.csv)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        return run(options, Path(folder))


if __name__ == "__main__":
    raise SystemExit(main())
