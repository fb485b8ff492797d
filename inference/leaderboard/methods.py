"""The ways to restore a photo that are compared, each a function of a scene; `METHODS` lists them in the table's order.

Whoever has another one adds a line there.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from inference.find.locate import enlarge_mask
from inference.leaderboard.scenes import Scene
from inference.paste import covered_boxes
from inference.restorer import Restored, Restorer
from models.weights import load_weights

Settings = tuple[tuple[str, Any], ...]

# Inpainting looks this far around a pixel, as its OpenCV examples do.
_RADIUS = 5
# Pixels of page round a hole that inpainting is given; far more than it looks at.
_MARGIN = 64


@dataclass(frozen=True)
class Outcome:
    """What a method made of a scene.

    Attributes:
        image: RGB uint8 [H, W, 3], before any encoding.
        found: uint8 [H, W], what it took for an occluder; None where it did not say, or was told.
        seconds: from pixels to pixels.
    """

    image: np.ndarray
    found: np.ndarray | None
    seconds: float


class Tools:
    """The restorers of a run, each opened when it is first needed.

    Args:
        weights: file of a gated network.
        plain_weights: file of a network without a gate, for the methods that need one.
        threads: of the CPU.
    """

    def __init__(self, weights: Path, plain_weights: Path | None = None, threads: int | None = None) -> None:
        self.files = {"gated": weights, "plain": plain_weights}
        self.threads = threads
        self._restorers: dict[tuple[Any, ...], Restorer] = {}
        self._digests: dict[Path, str] = {}
        self._last: tuple[Scene, Restored] | None = None

    def restorer(self, kind: str, predict: Settings = (), **options: Any) -> Restorer:
        """A restorer over the "gated" or the "plain" weights; the same one for the same options.

        Args:
            predict: (key, value) of settings of the weights (`PredictConfig`) that are replaced.
            options: of `Restorer`.
        """
        key = (kind, *sorted(predict), *sorted(options.items()))
        if key not in self._restorers:
            weights = load_weights(self.files[kind])
            weights = replace(weights, predict={**weights.predict, **dict(predict)})
            self._restorers[key] = Restorer(weights, threads=self.threads, **options)
        return self._restorers[key]

    def restored(self, scene: Scene) -> Restored:
        """What mode `auto` makes of a scene; that of the last scene is remembered."""
        if self._last is None or self._last[0] is not scene:
            self._last = (scene, self.restorer("gated")(scene.picture))
        return self._last[1]

    def digest(self, kind: str) -> str:
        """Checksum of the weights of a kind; empty for methods without."""
        path = self.files.get(kind)
        if path is None:
            return ""
        if path not in self._digests:
            self._digests[path] = hashlib.sha256(path.read_bytes()).hexdigest()
        return self._digests[path]


@dataclass(frozen=True)
class Method:
    """One row of the table.

    Attributes:
        about: what the table calls it.
        run: does it.
        weights: "gated" or "plain", on which its results depend, or "".
    """

    about: str
    run: Callable[[Tools, Scene], Outcome]
    weights: str = ""


def _input(_: Tools, scene: Scene) -> Outcome:
    return Outcome(scene.picture, None, 0.0)


def _ceiling(_: Tools, scene: Scene) -> Outcome:
    return Outcome(np.where(scene.mask[..., None] > 0, scene.truth, scene.picture), None, 0.0)


def _inpaint_true(_: Tools, scene: Scene, algorithm: int) -> Outcome:
    start = time.perf_counter()
    image = inpaint(scene.picture, scene.mask, algorithm)
    return Outcome(image, None, time.perf_counter() - start)


def _inpaint_found(tools: Tools, scene: Scene, algorithm: int) -> Outcome:
    restored = tools.restored(scene)
    start = time.perf_counter()
    image = inpaint(scene.picture, restored.mask, algorithm)
    seconds = restored.seconds["locate"] + time.perf_counter() - start
    return Outcome(image, _found(restored), seconds)


def _auto(tools: Tools, scene: Scene) -> Outcome:
    restored = tools.restored(scene)
    return Outcome(restored.image, _found(restored), sum(restored.seconds.values()))


def _restore(tools: Tools, scene: Scene, kind: str = "gated", **options: Any) -> Outcome:
    restorer = tools.restorer(kind, **options)
    restored = restorer(scene.picture)
    return Outcome(restored.image, _found(restored), sum(restored.seconds.values()))


def _found(restored: Restored) -> np.ndarray | None:
    """What was found to be covered, at full size: not `Restored.mask`, which is wider by the paste's rim."""
    return None if restored.located is None else enlarge_mask(restored.located, restored.image.shape[:2])


def inpaint(picture: np.ndarray, mask: np.ndarray, algorithm: int) -> np.ndarray:
    """OpenCV's inpainting of each covered part with the page around it.

    Args:
        picture: RGB uint8 [H, W, 3]; stays untouched.
        mask: uint8 [H, W], 1 = to be filled.
        algorithm: cv2.INPAINT_TELEA or cv2.INPAINT_NS.
    """
    result = picture.copy()
    for top, bottom, left, right in covered_boxes(mask, _MARGIN):
        place = (slice(top, bottom), slice(left, right))
        result[place] = cv2.inpaint(picture[place], mask[place], _RADIUS, algorithm)
    return result


_EAGER = {"backend": "paddle", "precision": "fp32"}
_VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "eager": ("eager fp32, the reference", _EAGER),
    "no-tlc": ("without TLC", {"tlc_ratio": 0.0}),
    "flips": ("mean over four flips", {"tta": True}),
}
# What the shipped weights ask for beside the plain pass, taken away one at a time.
_WITHOUT: dict[str, tuple[str, Settings]] = {
    "own-fill": ("the network's fill", (("fill", "network"),)),
    "one-look": ("one look", (("overview_long_side", 0),)),
}

METHODS = {
    "input": Method("input unchanged", _input),
    "telea-true": Method("Telea, true mask", partial(_inpaint_true, algorithm=cv2.INPAINT_TELEA)),
    "ns-true": Method("Navier-Stokes, true mask", partial(_inpaint_true, algorithm=cv2.INPAINT_NS)),
    "telea-found": Method("Telea, our mask", partial(_inpaint_found, algorithm=cv2.INPAINT_TELEA), "gated"),
    "ns-found": Method("Navier-Stokes, our mask", partial(_inpaint_found, algorithm=cv2.INPAINT_NS), "gated"),
    "ceiling": Method("truth inside the mask (ceiling)", _ceiling),
    "plain": Method(
        "plain NAFNet, four tiles", partial(_restore, kind="plain", mode="tiles", rows=2, columns=2, overlap=0), "plain"
    ),
    "plain-pasted": Method("plain NAFNet, pasted back", partial(_restore, kind="plain"), "plain"),
    "auto": Method("gated, auto", _auto, "gated"),
    **{
        f"auto-{name}": Method(f"gated, auto, {about}", partial(_restore, **options), "gated")
        for name, (about, options) in _VARIANTS.items()
    },
    **{
        f"auto-{name}": Method(f"gated, auto, {about}", partial(_restore, predict=predict), "gated")
        for name, (about, predict) in _WITHOUT.items()
    },
    "tiles": Method("gated, tiles", partial(_restore, mode="tiles"), "gated"),
    **{
        f"tiles-{name}": Method(f"gated, tiles, {about}", partial(_restore, mode="tiles", **options), "gated")
        for name, (about, options) in _VARIANTS.items()
    },
}
