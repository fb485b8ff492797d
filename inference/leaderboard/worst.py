"""Shows the pictures on which a method scored lowest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inference.leaderboard.methods import METHODS, Tools
from inference.leaderboard.records import Row
from inference.leaderboard.scenes import Scene
from inference.sheet import CELL_SIDE, draw_sheet, shrink, tint


def worst_sheet(rows: Sequence[tuple[Scene, Row]], tools: Tools, count: int) -> np.ndarray:
    """The lowest scores first, one row each: before, after, truth, and what was found against what is there.

    The last cell has what was found in red, and the outline of the true mask in blue.

    Args:
        rows: of one method, at least one.

    Returns:
        RGB uint8.
    """
    lowest = sorted(rows, key=lambda item: (item[1].score is None, item[1].score, item[1].set, item[1].picture))
    return draw_sheet([_cells(Scene(scene.set, scene.name, scene.group), row, tools) for scene, row in lowest[:count]])


def _cells(scene: Scene, row: Row, tools: Tools) -> list[tuple[str, np.ndarray]]:
    outcome = METHODS[row.method].run(tools, scene)
    score = "no score" if row.score is None else f"score {row.score:.3f}, PSNR {row.psnr:.1f}"
    found = np.zeros_like(scene.mask) if outcome.found is None else outcome.found
    return [
        (f"{scene.set} {scene.name.rpartition('/')[2]}", scene.picture),
        (f"after: {score}", outcome.image),
        ("truth", scene.truth),
        ("found, and the true outline", tint(shrink(scene.picture, CELL_SIDE), found, scene.mask)),
    ]
