"""Takes methods over scenes and writes down what comes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from inference.leaderboard.measure import Judge
from inference.leaderboard.methods import METHODS, Tools
from inference.leaderboard.records import Records, Row
from inference.leaderboard.scenes import Scene, list_scenes
from inference.leaderboard.table import Summary, summarise

INPUT = "input"


class Leaderboard:
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
                    rows = self._measure(Scene(scene.set, scene.name, scene.group), missing)
                    scores = ", ".join(f"{row.method} {row.score or 0:.4f}" for row in rows)
                    tell(f"{name} {number}/{len(scenes)} {scene.name}: {scores}")

    def _measure(self, scene: Scene, methods: Sequence[str]) -> list[Row]:
        judge = Judge(scene)
        outcomes = {name: METHODS[name].run(self._tools, scene) for name in methods}
        with ThreadPoolExecutor(self._workers) as pool:
            waiting = [
                pool.submit(judge, name, outcome, self._digest(scene, name)) for name, outcome in outcomes.items()
            ]
            for done in as_completed(waiting):
                self._records.add(done.result())
        return [one.result() for one in waiting]

    def _digest(self, scene: Scene, method: str) -> str:
        weights = self._tools.digest(METHODS[method].weights)
        return f"{scene.digest[:16]}-{weights[:16]}"

    def _row(self, scene: Scene, method: str) -> Row | None:
        return self._records.get(scene.set, method, scene.name, self._digest(scene, method))

    def rows(self, set_name: str, method: str) -> list[tuple[Scene, Row]]:
        """The scenes of a set that were measured with a method, and what came out."""
        found = ((scene, self._row(scene, method)) for scene in self.scenes[set_name])
        return [(scene, row) for scene, row in found if row is not None]

    def summaries(self) -> list[Summary]:
        """One for each set and method."""
        summaries = []
        for name in self.scenes:
            inputs = {row.picture: row for _, row in self.rows(name, INPUT)}
            for method in self.methods:
                rows = [row for _, row in self.rows(name, method)]
                if rows:
                    summaries.append(summarise(rows, inputs))
        return summaries
