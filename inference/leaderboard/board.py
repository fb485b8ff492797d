"""Takes methods over scenes and writes down what comes out, so that an interrupted run goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from inference.leaderboard.methods import METHODS, Outcome, Tools
from inference.leaderboard.scenes import Scene, judge, list_scenes
from inference.sheet import CELL_SIDE, draw_sheet, shrink, tint
from utils.files import write_text

INPUT = "input"


@dataclass(frozen=True)
class Row:
    """What one method made of one picture.

    Attributes:
        set, method, picture: names.
        digest: checksum of the picture's files and of the weights.
        psnr .. wrong: what `scenes.judge` gives.
        seconds: from pixels to pixels.
    """

    set: str
    method: str
    picture: str
    digest: str
    psnr: float
    ms_ssim: float | None
    score: float | None
    psnr_inside: float | None
    pixels: int
    covered: int
    found: int | None
    hit: int | None
    changed: int
    wrong: int
    seconds: float


class Records:
    """The rows of a file of JSON lines, written as they come.

    Raises:
        ValueError: the file holds something else.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._rows = path, {}
        text = path.read_text("utf-8") if path.exists() else ""
        # The line that a killed run left half written has no end.
        for number, line in enumerate(text[: text.rfind("\n") + 1].splitlines(), 1):
            try:
                self._keep(Row(**json.loads(line)))
            except (ValueError, TypeError) as error:
                raise ValueError(f"{path}, line {number}: not a leaderboard's record ({error})") from error
        write_text(path, "".join(map(_line, self._rows.values())))

    def _keep(self, row: Row) -> None:
        self._rows[row.set, row.method, row.picture] = row

    def get(self, set_name: str, method: str, picture: str, digest: str) -> Row | None:
        """The row of a picture; None when it was not measured, or its files or the weights were others."""
        row = self._rows.get((set_name, method, picture))
        return row if row is not None and row.digest == digest else None

    def add(self, row: Row) -> None:
        """Writes a row down, at once."""
        self._keep(row)
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(_line(row))
            file.flush()
            os.fsync(file.fileno())


def _line(row: Row) -> str:
    return json.dumps(asdict(row), ensure_ascii=False) + "\n"


class Board:
    """A run over some sets with some methods.

    Args:
        sets: folders in the contest's layout, whose names are the sets'.
        methods: names of `METHODS`; "input" comes first in any case.
        limit: pictures of each set (`list_scenes`); 0 takes all.
        workers: results that are compared with the truth at the same time, after all methods have run on a picture:
            their seconds are measured alone.

    Raises:
        data.contest.lists.ListError: a folder is no set.
    """

    def __init__(
        self, sets: Sequence[Path], methods: Sequence[str], tools: Tools, records: Records, limit: int, workers: int
    ) -> None:
        self.methods = list(dict.fromkeys([INPUT, *(name for name in METHODS if name in methods)]))
        self.scenes = {folder.name: list_scenes(folder, limit) for folder in sets}
        self._tools, self._records, self._workers = tools, records, workers

    def run(self, tell: Callable[[str], None]) -> None:
        """Measures what is not measured yet; `tell` hears one line per picture."""
        for name, scenes in self.scenes.items():
            for number, scene in enumerate(scenes, 1):
                missing = [method for method in self.methods if self._row(scene, method) is None]
                if missing:
                    rows = self._measure(_undecoded(scene), missing)
                    scores = ", ".join(f"{row.method} {row.score or 0:.4f}" for row in rows)
                    tell(f"{name} {number}/{len(scenes)} {scene.name}: {scores}")

    def _measure(self, scene: Scene, methods: Sequence[str]) -> list[Row]:
        def row_of(method: str, outcome: Outcome) -> Row:
            measures = judge(scene, outcome.image, outcome.found)
            digest = self._digest(scene, method)
            return Row(scene.set, method, scene.name, digest, **measures, seconds=outcome.seconds)

        outcomes = [METHODS[name].run(self._tools, scene) for name in methods]
        rows = []
        with ThreadPoolExecutor(self._workers) as pool:
            for row in pool.map(row_of, methods, outcomes):
                self._records.add(row)
                rows.append(row)
        return rows

    def _digest(self, scene: Scene, method: str) -> str:
        return f"{scene.digest[:16]}-{self._tools.digest(METHODS[method].weights)[:16]}"

    def _row(self, scene: Scene, method: str) -> Row | None:
        return self._records.get(scene.set, method, scene.name, self._digest(scene, method))

    def rows(self, set_name: str, method: str) -> list[Row]:
        """What came out of a method on the scenes of a set that were measured."""
        found = (self._row(scene, method) for scene in self.scenes[set_name])
        return [row for row in found if row is not None]

    def worst_sheet(self, method: str, count: int) -> np.ndarray:
        """RGB uint8: the lowest scores first, one row each: before, after, truth, and what was found against the truth.

        The last cell has what was found in red, and the outline of the true mask in blue.
        """
        rows = [
            (scene, row)
            for scenes in self.scenes.values()
            for scene in scenes
            if (row := self._row(scene, method)) is not None
        ]
        rows.sort(key=lambda item: (item[1].score is None, item[1].score, item[1].set, item[1].picture))
        return draw_sheet([self._cells(_undecoded(scene), row) for scene, row in rows[:count]])

    def _cells(self, scene: Scene, row: Row) -> list[tuple[str, np.ndarray]]:
        outcome = METHODS[row.method].run(self._tools, scene)
        score = "no score" if row.score is None else f"score {row.score:.3f}, PSNR {row.psnr:.1f}"
        found = np.zeros_like(scene.mask) if outcome.found is None else outcome.found
        return [
            (f"{scene.set} {scene.name.rpartition('/')[2]}", scene.picture),
            (f"after: {score}", outcome.image),
            ("truth", scene.truth),
            ("found, and the true outline", tint(shrink(scene.picture, CELL_SIDE), found, scene.mask)),
        ]


def _undecoded(scene: Scene) -> Scene:
    """The same scene without its pictures, which are held only as long as it is worked on."""
    return Scene(scene.set, scene.name, scene.group)
