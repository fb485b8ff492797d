"""Times the restoration of photos of 10 megapixels with everything that is installed, side by side in one run.

    python -m inference.benchmark --csv benchmark.csv --markdown benchmark.md
    python -m inference.benchmark --pictures photos --only "mode auto" --no-recipe

Every case runs in a process of its own, the cases in turn, `--repeat` times over; stop other programs first. The
write-up's recipe (eager Paddle, the full-size photo in four tiles) takes minutes and several gigabytes, and runs once.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from configs.schema import PredictConfig
from data.images import upright_size
from inference.benchmark.cases import Case, all_cases, as_recipe, doubled, sample_pictures, take_pictures
from inference.benchmark.report import Result, csv_text, describe, markdown, seconds_of
from inference.engines.exported import FOLDER_VARIABLE
from inference.restorer import default_weights
from models.weights import load_weights, save_weights
from utils.child import ChildError, ask
from utils.files import write_text
from utils.machine import available_cores


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m inference.benchmark", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=Path, help="folder of JPEG photos; default: the bundled ones, enlarged")
    parser.add_argument("--count", type=int, default=5, help="photos, the first of which only warms up")
    parser.add_argument("--weights", type=Path, help="file of weights; default: as predict.py")
    parser.add_argument("--repeat", type=int, default=2, help="rounds through all cases")
    parser.add_argument("--only", action="append", default=[], metavar="WORDS", help="only cases whose name holds them")
    parser.add_argument("--no-recipe", dest="recipe", action="store_false", help="without the write-up's recipe")
    parser.add_argument("--threads", type=int, help="threads of the CPU; default: all cores")
    parser.add_argument("--csv", type=Path, help="file for every number")
    parser.add_argument("--markdown", type=Path, help="file for the table")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            return run(options, Path(folder))
    except (OSError, ValueError, ChildError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(options: argparse.Namespace, folder: Path) -> int:
    """Measures all cases in turn and writes the tables; returns the exit code.

    Args:
        folder: an empty one, for photos, results, networks and their exports.

    Raises:
        OSError, ValueError: no photos, weights or cases.
        ChildError: the network cannot be run at all.
    """
    if min(options.count, options.repeat) < 1:
        raise ValueError("--count and --repeat have to be 1 at least")
    threads = options.threads or available_cores()
    about = describe(threads)
    for name in ("pictures", "results", "reference"):
        (folder / name).mkdir()
    weights = load_weights(options.weights or default_weights("tiles"))
    narrow, wide = (f"width {factor * weights.model['width']}" for factor in (1, 2))
    networks = {narrow: weights, wide: doubled(weights)}
    networks |= {f"{name}, no gate": as_recipe(network) for name, network in networks.items()}
    for name, network in networks.items():
        save_weights(folder / f"{name}.pdparams", network)
    if options.pictures:
        take_pictures(options.pictures, folder / "pictures", options.count)
    else:
        sample_pictures(folder / "pictures", options.count)
    sizes = sorted({upright_size(path)[::-1] for path in (folder / "pictures").iterdir()})
    photos = f"{options.count} JPEG photos, {', '.join(f'{width}x{height}' for width, height in sizes)}"

    def answer(function: str, order: Any) -> Any:
        variables = {"OMP_NUM_THREADS": str(threads), FOLDER_VARIABLE: str(folder / "cache")}
        return ask(f"inference.benchmark.{function}", order, **variables)

    def measured(case: Case, only_opened: bool = False) -> dict[str, Any]:
        order = {"case": asdict(case), "threads": threads, "weights": str(folder / f"{case.network}.pdparams")}
        order |= {name: str(folder / name) for name in ("pictures", "results", "reference")}
        return answer("measure:measure", order | ({"pictures": None} if only_opened else {}))

    # Networks are exported once, by others: that is part of no photo, nor is its memory.
    opened = measured(Case(narrow), only_opened=True)
    tell(f"predict.py would take {opened['engine']} here")
    long_side = PredictConfig.from_dict(weights.predict).long_side
    cases = all_cases(narrow, wide, long_side, opened["device"], options.recipe)
    results = [Result(case) for case in cases if not options.only or any(words in case.name for words in options.only)]
    if not results:
        raise ValueError(f"no case holds {' or '.join(map(repr, options.only))}; there are: "
                         + "; ".join(case.name for case in cases))
    if any(result.case.network == wide for result in results):
        measured(Case(wide), only_opened=True)
    rates = []
    for index in range(options.repeat):
        rates.append(answer("report:matrix_rate", 2048))
        tell(f"round {index + 1} of {options.repeat}: {rates[-1]:.0f} GFLOP/s of dense float32 matrix products")
        for result in results:
            if result.problem or (result.case.recipe and index):
                continue
            try:
                result.rounds.append(measured(result.case))
                total = seconds_of(result.rounds[-1])["total"]
                tell(f"{result.case.name}: {total:.2f} s a photo, {result.rounds[-1]['memory']:.2f} GB")
            except ChildError as error:
                result.problem = str(error)
                tell(f"{result.case.name}: not measured: {error}")
    table = markdown(about, photos, rates, results)
    for path, text in ((options.csv, csv_text(about, rates, results)), (options.markdown, table)):
        if path:
            write_text(path, text)
    print(table)
    return 0 if any(result.rounds for result in results) else 1


def tell(words: str) -> None:
    """Progress, beside the tables."""
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
