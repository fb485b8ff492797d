"""The one way to run trained weights over a photo: `Restorer(weights)(image)`.

    from inference import Restorer
    restorer = Restorer()
    result = restorer("photo.jpg")          # result.image, result.mask, result.seconds

A gated network works on a smaller picture: it says what is covered and what lies there, and only that is enlarged
and pasted into the photo. A network without a gate works on the whole picture, as the write-up did.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np
from PIL import Image

from configs.schema import PredictConfig
from data.images import read_rgb
from inference.backends.base import Backend
from inference.backends.eager import EagerNetwork
from inference.compose import PasteRules, paste_fill
from inference.fill import FillRules, make_fill
from inference.occlusion import OcclusionRules, occluders_from_probability
from inference.tiling import run_tiled
from utils.weights import Weights, load_weights

# A network without a gate changes every pixel a little; this much is taken for a removal, as the contest's teams did.
_VISIBLE_CHANGE = 2
_ROOT = Path(__file__).resolve().parent.parent

Mode = Literal["auto", "tiles", "full"]


@dataclass(frozen=True)
class Restored:
    """What comes back for one picture.

    Attributes:
        image: RGB uint8 [H, W, 3], the size of the input.
        mask: uint8 [H, W], 1 = may have been changed: outside of it `image` is the input bit for bit. Of a network
            without a gate: where a channel changed by 2 or more.
        occluders: how many occluders were removed (0 for a network without a gate, which does not count them).
        seconds: time by step: "locate", "restore", "compose", and "read" where a file was given.
    """

    image: np.ndarray
    mask: np.ndarray
    occluders: int
    seconds: dict[str, float] = field(default_factory=dict)


def default_weights() -> Path:
    """The weights in use when none are named: `model.pdparams` beside predict.py, else `test_code/model.pdparams`.

    Raises:
        FileNotFoundError: neither exists.
    """
    candidates = (_ROOT / "model.pdparams", _ROOT / "test_code" / "model.pdparams")
    for path in candidates:
        if path.is_file():
            return path
    raise FileNotFoundError(f"no weights: neither {candidates[0]} nor {candidates[1]} exists; name a file of weights")


class Restorer:
    """Runs a trained network over pictures of any size.

    Args:
        weights: a `.pdparams` file of this project, loaded `Weights`, or None for `default_weights()`.
        device: "auto", "cpu", "gpu" or "gpu:N".
        rows, columns, overlap, tlc_ratio: None takes what the weights say (`PredictConfig`); `tlc_ratio` 0 turns
            TLC off.
        mode: "auto" (only what is covered is restored), "tiles" (the whole picture in tiles) or "full" (in one piece).
        backend, precision: what runs the network, and how exactly.
        tta: averages over the four mirrorings.
        threads: of the engine; None leaves the choice to it.
        scale: "auto" works at the size that the weights ask for (`downscale`, at most `long_side`) and never
            enlarges; a number in (0, 1] is the working size as a fraction of the picture's.

    Attributes:
        settings: the `PredictConfig` in use.
        tlc: TLC's windows in words, for a log line.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | Weights | None = None,
        device: str = "auto",
        *,
        mode: Mode = "auto",
        scale: str | float = "auto",
        backend: str = "auto",
        precision: str = "auto",
        rows: int | None = None,
        columns: int | None = None,
        overlap: int | None = None,
        tlc_ratio: float | None = None,
        tta: bool = False,
        threads: int | None = None,
    ) -> None:
        if not isinstance(weights, Weights):
            weights = load_weights(default_weights() if weights is None else weights)
        wanted = {"rows": rows, "columns": columns, "overlap": overlap, "tlc_ratio": tlc_ratio}
        wanted = {key: value for key, value in wanted.items() if value is not None}
        settings = PredictConfig.from_dict({**weights.predict, **wanted})
        self._set_up(EagerNetwork.from_weights(weights, settings, device), settings, scale, mode, tta)

    @classmethod
    def from_backend(
        cls,
        backend: Backend,
        settings: PredictConfig,
        scale: str | float = "auto",
        mode: Mode = "auto",
        tta: bool = False,
    ) -> Restorer:
        """A restorer over any `inference.backends.base.Backend`."""
        restorer = cls.__new__(cls)
        restorer._set_up(backend, settings, scale, mode, tta)
        return restorer

    def describe(self) -> str:
        """One line for the log: what runs where, how exactly, in which mode, with which windows of TLC."""
        backend = self._backend
        return f"{backend.name} {backend.precision} on {backend.device}, mode {self.mode}, {backend.tlc}"

    def _set_up(self, backend: Backend, settings: PredictConfig, scale: str | float, mode: Mode, tta: bool) -> None:
        if mode not in get_args(Mode):
            raise ValueError(f"mode is {mode!r}, expected one of {', '.join(get_args(Mode))}")
        self.mode = mode
        self.tta = tta
        if scale != "auto" and (isinstance(scale, str) or not 0 < scale <= 1):
            raise ValueError(f"scale is {scale!r}, expected 'auto' or a number above 0 and up to 1")
        self.settings = settings
        self.scale = scale
        self.gated = backend.gated
        self.tlc = backend.tlc
        self._backend = backend
        self._occlusion = OcclusionRules(threshold=settings.mask_threshold)
        self._fill = FillRules(evenness=settings.paper_fill)
        self._paste = PasteRules()

    def __call__(self, image: np.ndarray | Image.Image | str | os.PathLike[str]) -> Restored:
        """Restores one picture.

        Args:
            image: RGB uint8 [H, W, 3], a Pillow image, or the path of a picture file (which is turned upright).

        Raises:
            ValueError: an array of another type or shape.
            BadImageError: a file that cannot be read.
        """
        seconds: dict[str, float] = {}
        start = time.perf_counter()
        if not isinstance(image, np.ndarray):
            image = np.asarray(image.convert("RGB")) if isinstance(image, Image.Image) else read_rgb(image)
            seconds["read"] = time.perf_counter() - start
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise ValueError(f"expected RGB uint8 height x width x 3, got {image.dtype} {image.shape}")
        start = time.perf_counter()
        small = self._shrink(image)
        output = self._run(small)
        seconds["locate"] = time.perf_counter() - start
        seconds["restore"] = 0.0
        start = time.perf_counter()
        compose = self._compose_gated if self.gated else self._compose_whole
        result, mask, occluders = compose(image, small, output)
        seconds["compose"] = time.perf_counter() - start
        return Restored(result, mask, occluders, seconds)

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) at which the network sees a picture of this size."""
        scale = self.scale
        if scale == "auto":
            scale = 1 / self.settings.downscale
            if self.settings.long_side:
                scale = min(scale, self.settings.long_side / max(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))

    def _shrink(self, image: np.ndarray) -> np.ndarray:
        """float32 [h, w, 3] in [0, 1] at the working size."""
        height, width = self.working_size(*image.shape[:2])
        if (height, width) != image.shape[:2]:
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        return image.astype(np.float32) / np.float32(255)

    def _run(self, small: np.ndarray) -> np.ndarray:
        """The network's output, float32 [h, w, 3], or [h, w, 4] with the mask probability last."""
        settings = self.settings
        picture = np.ascontiguousarray(small.transpose(2, 0, 1))
        output = run_tiled(picture, self._backend, settings.rows, settings.columns, settings.overlap)
        return np.ascontiguousarray(output.transpose(1, 2, 0))

    def _compose_gated(self, image: np.ndarray, small: np.ndarray, output: np.ndarray):
        restored, probability = np.ascontiguousarray(output[..., :3]), np.ascontiguousarray(output[..., 3])
        result, changed = image.copy(), np.zeros(image.shape[:2], np.uint8)
        occluders = occluders_from_probability(probability, self._occlusion)
        if occluders:
            together = np.maximum.reduce(occluders)
            fill = make_fill(restored, small, probability, together, self._paste.reach, self._fill)
            for occluder in occluders:
                changed |= paste_fill(result, fill, occluder, self._paste)
        return result, changed, len(occluders)

    def _compose_whole(self, image: np.ndarray, small: np.ndarray, output: np.ndarray):
        if small.shape != image.shape:
            # At a smaller scale only the difference is enlarged, so that the photo keeps its own sharpness.
            difference = cv2.resize(output - small, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)
            output = image.astype(np.float32) / np.float32(255) + difference
        result = (np.clip(output, 0, 1) * 255 + 0.5).astype(np.uint8)
        mask = (cv2.absdiff(result, image).max(2) >= _VISIBLE_CHANGE).astype(np.uint8)
        return result, mask, 0
