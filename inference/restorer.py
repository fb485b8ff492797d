"""The one way to run trained weights over a photo: `Restorer(weights)(image)`.

Only about a fiftieth of such a photo is covered, and the rest must stay as it is. So the network first sees a small
copy, on which is found what is covered (`inference.find`); that is filled at a larger scale (`inference.fill`), and the
fill is pasted into the photo (`inference.paste`). The other modes run the network over the whole picture.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Literal, Union, get_args

import cv2
import numpy as np

from configs.schema import PredictConfig
from data.photos import read_photo
from inference.engines import Backend, mean_over_flips
from inference.engines.opened import Graph, open_backend
from inference.fill.patches import hole_of, network_patches, page_patches, restored_patches
from inference.fill.shadow import ShadowRules, with_shadows
from inference.find import Located, enlarge_mask, locate, locate_whole, scaled, shrink, to_float
from inference.paste import PasteRules, Patch, add_difference, paste
from inference.tiles import Cut, Network, equal_cut, single_cut
from models.weights import Weights, load_weights

Picture = Union[np.ndarray, str, "os.PathLike[str]"]
Mode = Literal["auto", "tiles", "full"]
MaskMode = Literal["replace", "add", "protect"]
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Restored:
    """What comes back for one picture."""

    image: np.ndarray  # RGB [H, W, 3], the size and type (uint8 or uint16) of the input; an array of its own
    mask: np.ndarray  # uint8 [H, W], 1 = may have been changed: everywhere else `image` is the input bit for bit
    occluders: int  # How many were removed; 0 for a network without a gate, which does not count them
    # Time by step: "locate", "restore", "compose", and "read" where a file was given.
    seconds: dict[str, float] = field(default_factory=dict)
    # uint8 [h, w], 1 = covered, at the size at which that was looked for (`mask` is wider, by the rim and the feather
    # of the paste); None where a whole-picture mode without a gate did not look.
    located: np.ndarray | None = None
    certainty: float = 1.0  # Of the occluder of which the network is least sure, in [0, 1]; 1 without one


def default_weights(mode: Mode = "auto") -> Path:
    """The weights when none are named: `model.pdparams` beside predict.py, or of `test_code` the locator, and for the
    modes that run a restorer over the whole picture the gated network. FileNotFoundError: neither exists."""
    own = _ROOT / "model.pdparams"
    shipped = _ROOT / "test_code" / ("model.pdparams" if mode == "auto" else "gated.pdparams")
    for path in (own, shipped):
        if path.is_file():
            return path
    raise FileNotFoundError(f"no weights: neither {own} nor {shipped} exists; name a file of weights")


class Restorer:
    """Runs a trained network over pictures of any size; may be called from several threads.

    Args:
        weights: a `.pdparams` file of this project, loaded `Weights`, or None for `default_weights()`.
        mode: "auto" finds on a small copy what is covered and restores only that. "tiles" and "full" run the network
            over the whole picture, in `rows` x `columns` tiles (the write-up) or in one piece; one with a gate still
            changes only what is covered. "full" with `scale` 1 and `tlc_ratio` 0 is the plain network's output.
        scale: "auto" works at the size that the weights ask for; a number in (0, 1] is a fraction of the picture's.
        tta: averages over the four mirrorings of every tile.
        device, backend, precision, threads: what runs the network (`inference.engines.opened.open_backend`).
        rows, columns, overlap, tlc_ratio: None takes what the weights say (`PredictConfig`); the first two are for
            mode "tiles" only; `tlc_ratio` 0 turns TLC off.

    Attributes:
        settings: the `PredictConfig` in use.
        gated: a network says what is covered, the restorer in a fourth channel, or a locator.
        tlc, engine: TLC's windows; what runs the network, how exactly, and where: in words.
        weights: the file's name, if there is one.
        fingerprint: of the weights and of the settings that results depend on, and not of what runs the network.
    """

    weights = fingerprint = ""

    def __init__(self, weights: str | os.PathLike[str] | Weights | None = None, device: str = "auto", *,
                 mode: Mode = "auto", scale: str | float = "auto", tta: bool = False,
                 backend: str = "auto", precision: str = "auto", threads: int | None = None, rows: int | None = None,
                 columns: int | None = None, overlap: int | None = None, tlc_ratio: float | None = None
                 ) -> None:  # fmt: skip
        if mode not in get_args(Mode):
            raise ValueError(f"mode is {mode!r}, expected one of {', '.join(get_args(Mode))}")
        if scale != "auto" and (isinstance(scale, str) or not 0 < scale <= 1):
            raise ValueError(f"scale is {scale!r}, expected 'auto' or a number above 0 and up to 1")
        if mode != "tiles" and (rows is not None or columns is not None):
            raise ValueError(f"rows and columns (--tiles) are for mode tiles, and the mode is {mode}")
        if not isinstance(weights, Weights):
            weights = load_weights(default_weights(mode) if weights is None else weights)
        file = weights.file or "the weights"
        wanted = {"rows": rows, "columns": columns, "overlap": overlap, "tlc_ratio": tlc_ratio}
        wanted = {key: value for key, value in wanted.items() if value is not None}
        settings = PredictConfig.from_dict({**weights.predict, **wanted})
        how, locator, restorer = (backend, precision, device, threads), None, None
        told = bool(weights.model.get("mask_input"))
        if told and mode != "auto":
            raise ValueError(f"mode {mode} shows a network the whole photo; that of {file} "
                             "paints what a mask tells it; use mode auto, or other weights")
        if weights.locator is not None and mode == "auto":
            locator = open_backend(Graph.locator(weights), *how)
        if locator is None or settings.fill == "network":
            if not weights.model:
                raise ValueError(f"mode {mode} needs a network that restores; {file}: a locator and nothing else")
            restorer = open_backend(Graph.nafnet(weights, settings), *how)
        # A Restormer has twice its first level's channels at full resolution at the end.
        width = weights.model.get("width", 2 * weights.model.get("dim", 0))
        self._set_up(restorer, settings, scale, mode, tta, locator, width, told)
        self.weights = weights.file.name if weights.file else ""
        self.fingerprint = _fingerprint(weights, [asdict(settings), mode, str(scale), tta])

    def _set_up(self, backend: Backend | None, settings: PredictConfig, scale: str | float = "auto",
                mode: Mode = "auto", tta: bool = False, locator: Backend | None = None, width: int = 0,
                told: bool = False) -> None:  # fmt: skip
        """A `locator` stands beside the backend or in its place; `told`: that takes the mask as a fourth channel."""
        self.settings, self.scale, self.mode, self.tta = settings, scale, mode, tta
        self._backend, self._locator = locator or backend, locator
        self.gated, self.tlc = locator is not None or backend.gated, self._backend.tlc
        self.engine = f"{self._backend.name} {self._backend.precision} on {self._backend.device}"
        self._network = None if backend is None else Network(backend, tta, width)
        self._painter = (mean_over_flips(backend) if tta else backend) if told else None
        self._is_plain = mode == "full" and scale == 1 and settings.tlc_ratio == 0

    def describe(self) -> str:
        """One line for the log: what runs where, how exactly, in which mode, with which windows of TLC."""
        sides = " and ".join(map(str, self.settings.locator_sides))
        tells = f"a locator looks at {sides} px" if self._locator is not None else self.tlc
        return f"{self.engine}, mode {self.mode}; {tells}" + (f"; {self.weights}" if self.weights else "")

    def __call__(
        self, image: Picture, mask: np.ndarray | None = None, mask_mode: MaskMode = "replace", fill: bool = True
    ) -> Restored:
        """Restores one picture; raises what `as_pixels` does, and MemoryError where the smallest tiles do not fit.

        Args:
            image: RGB uint8 or uint16 [H, W, 3], or the path of a picture file.
            mask: [H, W], what a person says, nonzero where the picture is covered.
            mask_mode: "replace" looks for nothing else; "add" looks for more; "protect" looks, and leaves all that the
                mask marks as it is, bit for bit.
            fill: False only looks: `image` is then the input.
        """
        seconds: dict[str, float] = {}
        with timed({} if isinstance(image, np.ndarray) else seconds, "read"):
            picture = as_pixels(image)
        size = picture.shape[:2]
        if mask_mode not in get_args(MaskMode):
            raise ValueError(f"mask_mode is {mask_mode!r}, expected one of {', '.join(get_args(MaskMode))}")
        if mask is not None and mask.shape != size:
            of_mask, of_picture = (" x ".join(map(str, shape[::-1])) for shape in (mask.shape, size))
            raise ValueError(f"a mask of {of_mask} pixels for a picture of {of_picture}")
        if mask is not None and mask_mode != "protect" and np.all(mask):
            raise ValueError("a mask that covers the whole picture: nothing of the page is left to go by")
        looks = mask is None or mask_mode != "replace"
        if looks and (self._is_plain or (self.mode != "auto" and not self.gated)):
            if mask is None and fill:
                return self._whole(picture, seconds)
            raise ValueError(f"mode {self.mode} with these weights changes the whole picture, and finds nothing that a "
                             "mask could be added to; use mode auto, or weights that find")
        if looks and self._locator is None and self._painter is not None:
            raise ValueError("these weights paint what a mask tells them and find nothing: give the mask, or take "
                             "weights that carry a locator as well")
        working = self._working_size(*size)
        with timed(seconds, "locate"):
            located = self._find(picture, working) if looks else None
            if mask is not None:
                located = _told(shrink(picture, working), mask, mask_mode, located)
        # The border of what is covered is known as well as the small copy shows it.
        rules = PasteRules().scaled(max(working) / max(located.mask.shape))
        result, changed = picture.copy(), np.zeros(size, np.uint8)
        with timed(seconds, "restore"):
            patches = self._fill(picture, located, working, rules) if fill else []
        with timed(seconds, "compose"):
            for patch in patches:
                paste(result, changed, patch, working, rules)
            if not fill:
                changed = enlarge_mask(hole_of(enlarge_mask(located.mask, working), rules), size)
            if mask is not None and mask_mode == "protect":
                result[mask != 0], changed[mask != 0] = picture[mask != 0], 0
        return Restored(result, changed, located.occluders, seconds, located.mask, located.certainty)

    def _find(self, picture: np.ndarray, working: tuple[int, int]) -> Located:
        """What covers a picture, on a copy of the working size, or smaller in mode auto; of a locator with shadows."""
        settings, size, auto = self.settings, working, self.mode == "auto" and self.gated
        if auto and 0 < settings.locate_long_side < max(working):
            size = scaled(*picture.shape[:2], settings.locate_long_side / max(picture.shape[:2]))
        small = shrink(picture, size)
        if self._locator is not None:
            found = locate_whole(self._locator, small, settings.locator_sides, settings.mask_threshold, self.tta)
            return replace(found, mask=with_shadows(small, found.mask, PasteRules().reach, ShadowRules()))
        bound = settings.overview_long_side
        overview = scaled(*size, bound / max(size)) if auto and 0 < bound < max(size) else None
        return locate(self._network, small, self._cut(*size), settings.mask_threshold, overview)

    def _fill(self, picture: np.ndarray, located: Located, working: tuple[int, int], rules: PasteRules) -> list[Patch]:
        """What goes in the place of the occluders, at the working size, as `PredictConfig.fill` says."""
        if not located.mask.any():
            return []
        settings, seen = self.settings, working == located.mask.shape
        small = located.picture if seen else shrink(picture, working)
        mask = enlarge_mask(located.mask, working)
        if settings.fill == "page":
            return page_patches(small, mask, rules)
        if self._painter is not None:
            return restored_patches(self._painter, small, mask, rules, settings.tile, settings.overlap)
        output = located.output if seen else None
        return network_patches(self._network, small, mask, rules, settings.tile, settings.overlap, output)

    def _whole(self, picture: np.ndarray, seconds: dict[str, float]) -> Restored:
        """What a plain network, or one without a gate, makes of a whole picture; the difference alone is enlarged."""
        size = picture.shape[:2]
        with timed(seconds, "restore"):
            small = shrink(picture, self._working_size(*size))
            output = self._network(small, self._cut(*small.shape[:2]), may_cut=not self._is_plain)[:3]
            if small.shape == picture.shape:
                levels = np.clip(output, 0, 1) * np.float32(np.iinfo(picture.dtype).max) + np.float32(0.5)
                result = np.ascontiguousarray(levels.transpose(1, 2, 0).astype(picture.dtype))
            else:
                result = picture.copy()
                add_difference(result, output - to_float(small).transpose(2, 0, 1))
        with timed(seconds, "compose"):
            mask = np.ones(size, np.uint8) if self._is_plain else changes(result, picture)
        return Restored(result, mask, 0, seconds)

    def _working_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) at which a picture of this size is restored."""
        scale = self.scale
        if scale == "auto":
            scale = min(1 / self.settings.downscale, (self.settings.long_side or inf) / max(height, width))
        return scaled(height, width, scale)

    def _cut(self, height: int, width: int) -> Cut:
        """The tiles of a pass over the whole picture."""
        settings = self.settings
        if self.mode == "auto":
            return single_cut(height, width, settings.overlap)
        rows, columns = (settings.rows, settings.columns) if self.mode == "tiles" else (1, 1)
        return equal_cut(height, width, rows, columns, settings.overlap)


def _told(small: np.ndarray, mask: np.ndarray, mask_mode: MaskMode, found: Located | None) -> Located:
    """What a mask makes of what was `found`, on a smaller picture: marked is what half is, to protect it any part."""
    size = small.shape[:2]
    share = cv2.resize((mask != 0).astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    covered = (share > 0 if mask_mode == "protect" else share >= 0.5).astype(np.uint8)
    if found is not None:
        before = enlarge_mask(found.mask, size)
        covered = before | covered if mask_mode == "add" else before & (1 - covered)
    count, certainty = cv2.connectedComponents(covered)[0] - 1, 1.0 if found is None else found.certainty
    return Located(small, covered, count, certainty=certainty)


def changes(result: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """uint8 [H, W]: 1 where any channel differs."""
    return (result != picture).any(axis=2).astype(np.uint8)


def _fingerprint(weights: Weights, options: list) -> str:
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for one in filter(None, (weights, weights.locator)):
        digest.update(json.dumps(one.model, sort_keys=True).encode())
        for name in sorted(one.params):
            digest.update(name.encode() + np.ascontiguousarray(one.params[name]).tobytes())
    return digest.hexdigest()[:32]


@contextmanager
def timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    """Adds how long its block takes to `seconds[step]`."""
    start = time.perf_counter()
    yield
    seconds[step] = seconds.get(step, 0.0) + time.perf_counter() - start


def as_pixels(image: Picture) -> np.ndarray:
    """RGB uint8 or uint16 [H, W, 3] of an array, which is taken as it is, or of a file, which is turned upright.

    TypeError: something else; ValueError: another type or shape, or no pixels; BadImageError: no readable file."""
    if isinstance(image, str | os.PathLike):
        return read_photo(image).pixels
    expected = "expected the path of a picture, or RGB uint8 or uint16 height x width x 3"
    if not isinstance(image, np.ndarray):
        raise TypeError(f"cannot restore {type(image).__name__} {str(image)[:40]!r}: {expected}; of a Pillow image, "
                        "np.asarray(image.convert('RGB'))")
    if image.dtype not in (np.uint8, np.uint16) or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"cannot restore an array of {image.dtype} {image.shape}: {expected}; of grey, "
                         "np.dstack([grey] * 3), without alpha, image[..., :3]")
    return image
