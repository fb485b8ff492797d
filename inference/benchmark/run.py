"""Takes the cases through their processes, in turn, and gathers what they answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data.images import upright_size
from inference.benchmark import machine
from inference.benchmark.cases import Case, all_cases, matching
from inference.benchmark.networks import as_recipe, doubled
from inference.benchmark.pictures import HEIGHT, WIDTH, draw_pictures, take_pictures
from inference.benchmark.report import Report, Result
from inference.engines.cache import FOLDER_VARIABLE
from models.weights import Weights, load_weights, save_weights

_ROOT = Path(__file__).resolve().parents[2]
_QUICK = (480, 640)
# Networks from this width on are not doubled.
_WIDE = 32
# Nothing that is worth waiting for takes longer.
_LIMIT_SECONDS = 3600


class ChildError(RuntimeError):
    """A case failed; the message is the last line that its process wrote."""


class Bench:
    """A run of the benchmark.

    Args:
        folder: an empty one, for photos, results, networks and their exports.
        weights: of a network with or without a gate.
        threads: of the CPU.
        wide: also measure a network of twice the width.
        recipe: also measure the write-up's recipe.
        only: `cases.matching`.
    """

    def __init__(
        self,
        folder: Path,
        weights: Path,
        threads: int,
        wide: bool = True,
        recipe: bool = True,
        only: Sequence[str] = (),
    ) -> None:
        self._folder, self._threads, self._only = folder, threads, only
        for name in ("pictures", "results", "reference", "networks", "cache"):
            (folder / name).mkdir()
        loaded = load_weights(weights)
        width = loaded.model["width"]
        self._network = f"width {width}"
        self._wide = f"width {2 * width}" if wide and width < _WIDE else None
        self._recipe = recipe
        self._files = {self._network: weights, **self._make_networks(loaded)}
        self._size = (HEIGHT, WIDTH)
        self._exported: set[str] = set()

    def _make_networks(self, weights: Weights) -> dict[str, Path]:
        made = {}
        if self._wide:
            made[self._wide] = doubled(weights)
        for name, network in ((self._network, weights), *made.copy().items()):
            if self._recipe:
                made[f"{name}, no gate"] = as_recipe(network)
        files = {}
        for name, network in made.items():
            files[name] = self._folder / "networks" / f"{name.replace(' ', '_').replace(',', '')}.pdparams"
            save_weights(files[name], network)
        return files

    def make_pictures(self, source: Path | None, count: int, quick: bool = False) -> str:
        """Puts `count` photos in place; returns what they are in words.

        Raises:
            OSError, ValueError: there are none.
        """
        if count < 1:
            raise ValueError(f"--count is {count}, expected at least one photo")
        place = self._folder / "pictures"
        if source is None:
            width, height = _QUICK if quick else (WIDTH, HEIGHT)
            paths = draw_pictures(place, count, width, height)
            kind = f"{count} drawn pages with a drawn hand or head, {width}x{height}, JPEG"
        else:
            paths = take_pictures(source, place, count)
            sizes = sorted({upright_size(path)[::-1] for path in paths})
            kind = f"{len(paths)} JPEG photos, {', '.join(f'{width}x{height}' for width, height in sizes)}"
        self._size = upright_size(paths[-1])
        megabytes = sum(path.stat().st_size for path in paths) / len(paths) / 1e6
        return f"{kind}, {megabytes:.1f} MB each on average; the first one only warms up"

    def run(self, repeat: int, photos: str, tell: Callable[[str], None]) -> Report:
        """Measures all cases `repeat` times in turn; the recipe once.

        Args:
            photos: what `make_pictures` said.
            tell: receives a line about each step.

        Raises:
            ChildError: the network cannot be run at all.
            ValueError: no case is left by `only`.
        """
        opened = self._ask(Case(self._network, device="auto"), "open")
        tell(f"predict.py would take {opened['backend']} {opened['precision']} on {opened['device']} here")
        devices = ["cpu"] if opened["device"] == "cpu" else ["cpu", opened["device"]]
        cases = all_cases(self._network, self._wide, opened["long_side"], devices, self._recipe)
        results = [Result(case) for case in matching(cases, self._only)]
        if not results:
            raise ValueError(f"no case holds {' or '.join(map(repr, self._only))}; there are: "
                             + "; ".join(case.name for case in cases))
        rates = []
        for index in range(repeat):
            rates.append(self._ask(None, "matrix")["gflops"])
            tell(f"round {index + 1} of {repeat}: {rates[-1]:.0f} GFLOP/s of dense float32 matrix products")
            for place, result in enumerate(results):
                if result.problem or (result.case.recipe and index):
                    continue
                results[place] = self._measured(result, tell)
        full_size = min(self._size) >= WIDTH and max(self._size) >= HEIGHT
        return Report(machine.describe(self._threads), photos, rates, results, full_size=full_size)

    def _measured(self, result: Result, tell: Callable[[str], None]) -> Result:
        try:
            self._export(result.case)
            answer = self._ask(result.case, "measure")
        except ChildError as error:
            tell(f"{result.case.name}: not measured: {error}")
            return Result(result.case, problem=str(error))
        measured = Result(result.case, [*result.rounds, answer])
        tell(f"{result.case.name}: {measured.steps['total']:.2f} s a photo, {answer['memory']:.2f} GB")
        return measured

    def _export(self, case: Case) -> None:
        """Lets another process export a network: that happens once, and is part of no photo, nor is its memory."""
        if case.backend != "paddle" and case.network not in self._exported:
            self._ask(case, "open")
            self._exported.add(case.network)

    def _ask(self, case: Case | None, action: str) -> dict[str, Any]:
        order = {
            "action": action,
            "case": asdict(case) if case else None,
            "weights": str(self._files[case.network]) if case else None,
            "pictures": str(self._folder / "pictures"),
            "results": str(self._folder / "results"),
            "reference": str(self._folder / "reference"),
            "threads": self._threads,
            "height": self._size[0],
            "width": self._size[1],
        }
        files = [self._folder / name for name in ("order.json", "answer.json")]
        files[0].write_text(json.dumps(order), "utf-8")
        threads = str(self._threads)
        environment = {**os.environ, "OMP_NUM_THREADS": threads, FOLDER_VARIABLE: str(self._folder / "cache")}
        command = [sys.executable, "-m", "inference.benchmark.child", *map(str, files)]
        try:
            ended = subprocess.run(
                command, cwd=_ROOT, env=environment, capture_output=True, text=True, errors="replace", check=False,
                timeout=_LIMIT_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise ChildError(f"not finished after {_LIMIT_SECONDS} s") from error
        if ended.returncode:
            lines = [line.strip() for line in (ended.stdout + ended.stderr).splitlines() if line.strip()]
            last = lines[-1] if lines else "it wrote nothing"
            died = f"ended by signal {-ended.returncode}: " if ended.returncode < 0 else ""
            raise ChildError(died + last)
        return json.loads(files[1].read_text("utf-8"))
