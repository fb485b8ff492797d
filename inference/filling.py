"""The second step: what goes in the place of each occluder, at the working scale, by the network or from the page."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from configs.schema import PredictConfig
from data.background import BackgroundRules, PasteRules, blank
from inference.fill import FillRules, make_fill
from inference.locate import Located, shrink, to_float
from inference.network import Network
from inference.regions import Region, covered_boxes, cut_out, enlarge_mask, restore
from inference.tiling import Box

# Pixels of page beyond what is looked at: the network sees them, and nothing is taken for a side of the picture.
_CONTEXT = 48


@dataclass(frozen=True)
class Filled:
    """A covered part of the picture with what is pasted there, at the working scale.

    Attributes:
        box: (top, bottom, left, right).
        mask: uint8 [h, w], 1 = covered.
        fill: float32 [h, w, 3] in [0, 1]; not clipped; only its values near the mask mean anything.
    """

    box: Box
    mask: np.ndarray
    fill: np.ndarray


class Filler:
    """Makes the fills of a picture as `PredictConfig.fill` says.

    Args:
        network: what paints, where the network's fill is asked for.
        settings: `fill`, `tile` and `overlap` count.
    """

    def __init__(self, network: Network, settings: PredictConfig) -> None:
        self._network, self._settings = network, settings

    def __call__(
        self, picture: np.ndarray, located: Located, working: tuple[int, int], paste: PasteRules
    ) -> list[Filled]:
        """Makes them.

        Args:
            picture: RGB uint8 or uint16 [H, W, 3], at full size.
            located: what is covered.
            working: (height, width) at which fills are made.
            paste: how they will be pasted, in pixels of that size.
        """
        if not located.mask.any():
            return []
        seen = working == located.mask.shape
        small = located.picture if seen else shrink(picture, working)
        mask = enlarge_mask(located.mask, working)
        if self._settings.fill == "page":
            background = BackgroundRules().scaled(max(working))
            boxes = covered_boxes(mask, ceil(paste.reach + max(background.around, background.lines.band)) + _CONTEXT)
            return [_page(small, mask, box, paste, background) for box in boxes]
        rules = FillRules().scaled(max(working))
        margin = ceil(paste.reach + rules.ring) + _CONTEXT
        if seen:
            regions = cut_out(small, located.output, mask, margin)
        else:
            regions = restore(self._network, small, mask, margin, self._settings.tile, self._settings.overlap)
        return [Filled(region.box, region.mask, _matched(region, paste, rules)) for region in regions]


def _page(picture: np.ndarray, mask: np.ndarray, box: Box, paste: PasteRules, rules: BackgroundRules) -> Filled:
    top, bottom, left, right = box
    picture, mask = picture[top:bottom, left:right], mask[top:bottom, left:right]
    return Filled(box, mask, to_float(blank(picture, mask, paste, rules)))


def _matched(region: Region, paste: PasteRules, rules: FillRules) -> np.ndarray:
    picture = to_float(region.picture)
    return make_fill(region.restored, picture, region.probability, region.mask, paste.reach, rules)
