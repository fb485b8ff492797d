"""What is compared (engines, precisions, modes, widths, the write-up's recipe) and on what: photos of ten megapixels,
and networks made of one file of weights without any training. Imports no engine."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data.images import encode_image, read_rgb
from inference.engines.choice import PRECISIONS
from models.weights import Weights
from utils.files import write_bytes

STEPS = ("decode", "locate", "restore", "compose", "encode")
MODES = ("auto", "tiles", "full")
# The working size of the write-up ("2K"), tried beside a smaller one that the weights may ask for.
LARGE = 2048
# What most of the contest's photos measure: (short side, long side).
SIDES = (2811, 3770)
_SAMPLES = Path(__file__).resolve().parents[2] / "test_code" / "samples" / "photos"

# The write-up's prediction: the full-size photo in four equal tiles, TLC's window 2.5 x 256 = 640.
RECIPE = {
    "rows": 2, "columns": 2, "overlap": 0, "tlc_train_size": 256, "tlc_ratio": 2.5, "downscale": 1, "long_side": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        network: which of the networks that are made of the weights.
        mode: of `Restorer`.
        backend, precision, device: of `open_backend`.
        settings: what replaces the `PredictConfig` of the weights.
        recipe: the write-up's prediction: one photo, once, not through the pipeline.
    """

    network: str
    mode: str = "auto"
    backend: str = "auto"
    precision: str = "auto"
    device: str = "auto"
    settings: dict[str, Any] = field(default_factory=dict)
    recipe: bool = False

    @property
    def what(self) -> str:
        """Network and method, for people."""
        at = f", working at {self.settings['long_side']} px" if self.settings else ""
        return f"{self.network}, " + ("the write-up's recipe" if self.recipe else f"mode {self.mode}{at}")

    @property
    def name(self) -> str:
        """Unique among the cases of a run, for messages and --only."""
        device = "" if self.device in ("cpu", "auto") else f" on {self.device}"
        return f"{self.what}, " + ("auto" if self.backend == "auto" else f"{self.backend} {self.precision}{device}")

    @property
    def is_comparable(self) -> bool:
        """Does what the reference does, so that its pixels are compared with the reference's."""
        return self.mode == "auto" and not self.settings and not self.recipe

    @property
    def is_reference(self) -> bool:
        """Its results are those that the others are compared with."""
        return self.is_comparable and (self.backend, self.precision, self.device) == ("paddle", "fp32", "cpu")


def all_cases(network: str, wide: str, long_side: int, device: str, recipe: bool = True) -> list[Case]:
    """The rows of a run, in the order in which they are measured, the reference first.

    Args:
        network: the name of the network that the weights hold.
        wide: the name of the one of twice the width.
        long_side: of the working size that the weights ask for.
        device: what `predict.py` takes here: "cpu", or a GPU that works.
        recipe: also the write-up's, which takes minutes.
    """
    engines = [
        (backend, precision, place)
        for place in dict.fromkeys(("cpu", device))
        for backend, precisions in PRECISIONS[place.partition(":")[0]].items()
        for precision in precisions
    ]
    cases = [Case(network, "auto", *engine) for engine in engines]
    cases.sort(key=lambda case: not case.is_reference)
    cases += [Case(network, mode) for mode in MODES]
    if 0 < long_side < LARGE:
        # Only where the working size is larger than the one that is searched do the modes differ much.
        cases += [Case(network, mode, settings={"long_side": LARGE}) for mode in MODES]
    cases += [Case(wide)]
    cases += [Case(wide, "auto", *engine) for engine in engines if engine[1] != "fp32"]
    if recipe:
        cases += [Case(f"{name}, no gate", "tiles", "paddle", "fp32", recipe=True) for name in (wide, network)]
    return cases


def sample_pictures(folder: Path, count: int, sides: tuple[int, int] = SIDES) -> None:
    """Writes `count` JPEG photos: the bundled ones in turn, enlarged to `sides`, mirrored in every second turn."""
    samples = sorted(_SAMPLES.glob("*.jpg"))
    for index in range(count):
        turn, place = divmod(index, len(samples))
        pixels = read_rgb(samples[place])
        upright = pixels.shape[0] >= pixels.shape[1]
        pixels = cv2.resize(pixels, sides if upright else sides[::-1], interpolation=cv2.INTER_CUBIC)
        pixels = np.ascontiguousarray(pixels[:, ::-1]) if turn % 2 else pixels
        write_bytes(folder / f"sample_{index:03d}.jpg", encode_image(pixels, ".jpg", quality=92))


def take_pictures(source: Path, folder: Path, count: int) -> None:
    """Copies the first `count` JPEG photos of `source`, by name, into `folder`.

    Raises:
        FileNotFoundError: there are none.
    """
    found = sorted(path for path in source.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
    if not found:
        raise FileNotFoundError(f"{source}: no *.jpg to time; name another folder with --pictures, or leave it out")
    for path in found[:count]:
        shutil.copy(path, folder / path.name)


def doubled(weights: Weights) -> Weights:
    """The same function as a network of twice the width: every channel is there twice, and every convolution takes
    half of each.

    So a width that nobody has trained is timed on a network that finds the same occluders and hence does the same
    work per photo as one that was trained. LayerNorm's mean and variance over channels stay what they were.
    """
    params = {name: _doubled(name, np.asarray(array)) for name, array in weights.params.items()}
    return replace(weights, params=params, model={**weights.model, "width": 2 * weights.model["width"]}, file=None)


def _doubled(name: str, array: np.ndarray) -> np.ndarray:
    if array.ndim == 4 and name.endswith(("beta", "gamma")):
        return array.repeat(2, axis=1)
    reads_picture, writes_picture = name.startswith("intro."), name.startswith("ending.")
    depthwise = name.endswith("conv2.weight")
    if not writes_picture:
        # PixelShuffle makes one channel of four neighbours, which have to stay together.
        together = 4 if name.startswith("ups.") else 1
        groups = array.reshape(array.shape[0] // together, together, *array.shape[1:])
        array = groups.repeat(2, axis=0).reshape(-1, *array.shape[1:])
    if array.ndim == 4 and not reads_picture and not depthwise:
        array = array.repeat(2, axis=1) / np.asarray(2, array.dtype)
    return array


def as_recipe(weights: Weights) -> Weights:
    """The write-up's kind of network, without a gate, with its way of prediction as `predict`."""
    params = dict(weights.params)
    if weights.model["gate"]:
        params.update({name: params[name][:3] for name in ("ending.weight", "ending.bias")})
    model, predict = {**weights.model, "gate": False}, {**weights.predict, **RECIPE}
    return replace(weights, params=params, model=model, predict=predict, file=None)
