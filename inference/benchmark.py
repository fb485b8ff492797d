"""Times the restoration of photos of 10 megapixels with everything that is installed, side by side in one run.

    python -m inference.benchmark --csv benchmark.csv --markdown benchmark.md
    python -m inference.benchmark --pictures photos --only "mode auto" --no-recipe

Every case runs once, in a process of its own (`inference.timing`), with OMP_NUM_THREADS threads or one for each core;
stop other programs first, and run it twice to see what they change. The write-up's recipe (eager Paddle, the full-size
photo in four tiles) takes minutes and several gigabytes.
"""

from __future__ import annotations

import argparse
import csv
import io
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2

from configs.schema import PredictConfig
from data.images import read_rgb, upright_size, write_image
from inference.engines.choice import PRECISIONS
from inference.engines.exported import FOLDER_VARIABLE
from inference.restorer import default_weights
from inference.timing import STEPS, as_recipe, describe, doubled
from models.weights import load_weights, save_weights
from utils.child import ChildError, ask
from utils.command import command
from utils.files import check_writable, write_text
from utils.machine import default_threads

PHOTOS = 5
MODES = ("auto", "tiles", "full")
LARGE = 2048  # The working size of the write-up ("2K"), tried beside a smaller one that the weights may ask for
SIDES = (2811, 3770)  # What most of the contest's photos measure: short side, long side
SAMPLES = Path(__file__).resolve().parents[1] / "test_code" / "samples" / "photos"

# Headings of the table for people, and how each is written of what was measured; "" where something of it was not.
TABLE = {
    "what": "{what}", "engine": "{engine}", **{step: f"{{{step}:.2f}}" for step in STEPS},
    "file to file": "{total:.2f}", "in a batch": "{batch:.2f}", "memory GB": "{memory:.2f}",
    "GFLOP/s (of matmul)": "{gflops:.0f} ({share:.0%})", "from eager fp32: max / mean": "{largest:.0f} / {mean:.3f}",
}  # fmt: skip
REMARKS = """
* Seconds of one photo: medians over the photos; engines are warm. `in a batch`: from one finished file of the pipeline
  to the next. Memory: the peak of a process that did nothing else. Differences: in grey levels of 255 where a result
  may have changed the photo.
* GFLOP/s: the multiply-adds of convolutions, twice, by the time inside the engine. Dense matrix products: {rate:.0f}.
"""


class Case(NamedTuple):
    """One row of the table: a network, `mode` of `Restorer`, the rest as `open_backend` takes it."""

    network: str
    mode: str = "auto"
    backend: str = "auto"
    precision: str = "auto"
    device: str = "auto"
    settings: Mapping[str, Any] = {}  # In place of values of the weights' `PredictConfig`
    recipe: bool = False  # The write-up's prediction, of one photo and not through the pipeline

    @property
    def what(self) -> str:
        """Network and method, for people."""
        at = f", working at {self.settings['long_side']} px" if self.settings else ""
        return f"{self.network}, " + ("the write-up's recipe" if self.recipe else f"mode {self.mode}{at}")

    @property
    def name(self) -> str:
        """Unique among the cases of a run, for messages and --only."""
        device = f" on {self.device}" if self.device.startswith("gpu") else ""
        return f"{self.what}, " + ("auto" if self.backend == "auto" else f"{self.backend} {self.precision}{device}")


def all_cases(network: str, wide: str, long_side: int, device: str, locator: str = "") -> list[Case]:
    """The rows of a run, the one that others are compared with first: of a network whose weights ask to work at
    `long_side`, of one of twice the width, and of a locator, on the CPU and on `device`, which `predict.py` takes here.
    """
    engines = [(backend, precision, place) for place in dict.fromkeys(("cpu", device))
               for backend, precisions in PRECISIONS[place.partition(":")[0]].items()
               for precision in precisions]  # fmt: skip
    engines.sort(key=lambda engine: engine != ("paddle", "fp32", "cpu"))
    cases = [Case(network, "auto", *engine) for engine in engines] + [Case(network, mode) for mode in MODES]
    if locator:
        cases += [Case(locator), *(Case(locator, "auto", *engine) for engine in engines)]
    if 0 < long_side < LARGE:
        # Only where the working size is larger than the one that is searched do the modes differ much.
        cases += [Case(network, mode, settings={"long_side": LARGE}) for mode in MODES]
    cases += [Case(wide), *(Case(wide, "auto", *engine) for engine in engines if engine[1] != "fp32")]
    return cases + [Case(f"{name}, no gate", "tiles", "paddle", "fp32", recipe=True) for name in (wide, network)]


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


def write_tables(options: argparse.Namespace, about: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints the table for people, `about` above and remarks below it, and writes the files that were asked for."""
    rate = max((row["matmul_gflops"] for row in rows if not row["problem"]), default=0.0)
    lines = [about, "", f"| {' | '.join(TABLE)} |", "|" + " --- |" * len(TABLE)]
    for row in rows:
        if not row["problem"]:
            share = {"share": row["gflops"] / rate} if "gflops" in row else {}
            cells = (_written(form, {**row, **share}) for form in TABLE.values())
            lines.append(f"| {' | '.join(cells)} |")
    lines.append(REMARKS.format(rate=rate))
    lines += [f"* {row['case']}: not measured: {row['problem']}" for row in rows if row["problem"]]
    table = "\n".join(lines).rstrip() + "\n"
    if options.markdown:
        write_text(options.markdown, table)
    if options.csv:
        text = io.StringIO()
        writer = csv.DictWriter(text, dict.fromkeys(key for row in rows for key in row), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(options.csv, text.getvalue())
    print(table)


def _written(form: str, row: Mapping[str, Any]) -> str:
    try:
        return form.format_map(row)
    except KeyError:
        return ""


def run(options: argparse.Namespace, folder: Path) -> int:
    """Measures all cases in turn, with an empty `folder` for what is made on the way; 1 when nothing was measured."""
    threads = default_threads()
    machine = describe(threads)
    shipped = load_weights(options.weights or default_weights())
    # The rows of a NAFNet are of that alone, of what else its file may hold the locator's.
    weights = replace(shipped if shipped.model else load_weights(default_weights("tiles")), locator=None)
    put_photos(folder / "pictures", options.pictures)
    sizes = ["{}x{}".format(*upright_size(path)) for path in (folder / "pictures").iterdir()]
    about = f"Machine: {machine}.\n\nPhotos: {len(sizes)} JPEG, {', '.join(sorted(set(sizes)))}."
    narrow, wide = (f"width {factor * weights.model['width']}" for factor in (1, 2))
    networks = {narrow: weights, wide: doubled(weights)}
    networks |= {f"{name}, no gate": as_recipe(network) for name, network in networks.items()}
    locator = "locator" if shipped.locator else ""
    networks |= {locator: shipped} if locator else {}
    for name, network in networks.items():
        save_weights(folder / f"{name}.pdparams", network)

    def answer(function: str, case: Case) -> Any:
        order = case._asdict() | {"weights": str(folder / f"{case.network}.pdparams"), "folder": str(folder)}
        variables = {"OMP_NUM_THREADS": str(threads), FOLDER_VARIABLE: str(folder / "cache")}
        return ask(f"inference.timing:{function}", order, **variables)

    # Networks are exported once, by others: that is part of no photo, nor is its memory.
    device = answer("device_of", Case(narrow))
    cases = all_cases(narrow, wide, PredictConfig.from_dict(weights.predict).long_side, device, locator)
    chosen = [case for case in cases if (options.recipe or not case.recipe)
              and (not options.only or any(words in case.name for words in options.only))]  # fmt: skip
    if not chosen:
        raise ValueError(f"--only {', '.join(options.only)}: no case holds that; there are: "
                         + "; ".join(case.name for case in cases))
    for network in {case.network for case in chosen} & {wide, locator}:
        answer("device_of", Case(network))
    rows = []
    for case in chosen:
        row = {"case": case.name, "what": case.what, "machine": machine, "problem": ""}
        try:
            row |= answer("measure", case)
            row["engine"] += " (auto)" if case.backend == "auto" else ""
            said = f"{row['total']:.2f} s a photo, {row['memory']:.2f} GB"
        except ChildError as error:
            row["problem"] = str(error)
            said = f"not measured: {error}"
        rows.append(row)
        print(f"{case.name}: {said}", file=sys.stderr, flush=True)
    write_tables(options, about, rows)
    return 1 if all(row["problem"] for row in rows) else 0


@command(ValueError, ChildError)
def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m inference.benchmark", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    add = parser.add_argument
    add("--pictures", type=Path, help=f"folder of JPEG photos, {PHOTOS} are taken; default: the bundled ones, enlarged")
    add("--weights", type=Path, help="file of weights of a NAFNet; default: as predict.py, and its locator too")
    add("--only", action="append", metavar="WORDS", help="only cases whose name holds them; may be given again")
    add("--no-recipe", dest="recipe", action="store_false", help="without the write-up's recipe")
    add("--csv", type=Path, help="file for every number")
    add("--markdown", type=Path, help="file for the table")
    options = parser.parse_args(arguments)
    for path in filter(None, (options.csv, options.markdown)):
        check_writable(path)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        return run(options, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
