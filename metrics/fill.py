"""What a fill made of the page that an occluder hid: rules, ink that was never there, and the step at the border.

A PSNR inside the mask says how far off the tones are, and hardly whether a table is whole. So two things are counted
on pages whose rules are known (they were drawn), in grey levels and pixels of pages of about 1600 pixels:

* Paper is the median of the clean page over 41 x 41 pixels, and ink what is more than 25 levels darker.
* A hidden pixel of a rule, 3 pixels or more inside the mask, has come back when the fill has ink within 2 pixels of it.
* Ink of the fill is false where the clean page, 3 pixels or more inside the mask, has none within 4 pixels.

The counts of many pictures are added up before one is divided by the other.

The seam is a step of tone. Tone is the median over a square, so that print does not count, with a side of 1/80 of the
picture's longer side; a step is the difference of two tones, 3/4 of that side before and behind a line. The mean step
along the mask's border is compared with that along the line one width of the mask farther out, where the page is as it
was: 0 is a fill that lies in the page as the page lies in itself.
"""

import cv2
import numpy as np

INK = ("rules", "rules_back", "blank", "false_ink")
_PAPER_SIDE, _DARKER = 41, 25
_INSIDE, _NEAR, _CLEAR = 3, 2, 4  # Pixels, as above
_TONE_SIDE, _APART = 1 / 80, 0.75


def count_ink(result: np.ndarray, clean: np.ndarray, mask: np.ndarray, rules: np.ndarray) -> dict[str, int]:
    """Pixels. rules: of rules, hidden; rules_back: those that came back; blank: hidden pixels of the page far from ink;
    false_ink: those of them that have ink now. `result`, `clean`: RGB uint8 [H, W, 3]; `mask`, `rules`: uint8 [H, W],
    not zero = occluder, = a rule of the page.
    """
    grey = cv2.cvtColor(clean, cv2.COLOR_RGB2GRAY)
    paper = cv2.medianBlur(grey, _PAPER_SIDE)
    ink, new_ink = (cv2.subtract(paper, tones) > _DARKER for tones in (grey, cv2.cvtColor(result, cv2.COLOR_RGB2GRAY)))
    # Beyond the picture's sides the occluder goes on.
    inside = cv2.erode(np.uint8(mask != 0), _square(_INSIDE)) > 0
    hidden = (rules != 0) & ink & inside
    blank = inside & ~_grown(ink, _CLEAR)
    counted = (hidden, hidden & _grown(new_ink, _NEAR), blank, blank & new_ink)
    return {name: int(np.count_nonzero(pixels)) for name, pixels in zip(INK, counted, strict=True)}


def _square(reach: int) -> np.ndarray:
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)


def _grown(pixels: np.ndarray, reach: int) -> np.ndarray:
    return cv2.dilate(np.uint8(pixels), _square(reach)) > 0


def seam_step(result: np.ndarray, mask: np.ndarray) -> float | None:
    """By how many grey levels the step at the border of the mask (uint8 [H, W], not zero = occluder) in `result` (RGB
    uint8 [H, W, 3]) is above the page's own; None without a border, or a line around it with enough picture beside it.
    """
    covered = np.uint8(mask != 0)
    if covered.all() or not covered.any():
        return None
    within, beyond = (cv2.distanceTransform(part, cv2.DIST_L2, 5) for part in (covered, 1 - covered))
    side = max(3, round(max(mask.shape) * _TONE_SIDE)) | 1
    tones = cv2.medianBlur(cv2.cvtColor(result, cv2.COLOR_RGB2GRAY), side)
    # A mask that fills the picture leaves no room for its width: half of the way to the farthest corner, then.
    width = min(2 * float(within.max()), float(beyond.max()) / 2)
    steps = [_mean_step(tones, beyond - within, line, side) for line in (0.0, width)]
    return None if None in steps else steps[0] - steps[1]


def _mean_step(tones: np.ndarray, distance: np.ndarray, line: float, side: int) -> float | None:
    """Mean difference of tone across the line of a `distance` (signed, float32 [H, W]) from the mask."""
    rows, columns = np.nonzero(np.abs(distance - line) <= 1)
    smooth = cv2.GaussianBlur(distance, (0, 0), side / 4)
    across = np.stack([cv2.Scharr(smooth, -1, *order)[rows, columns] for order in ((0, 1), (1, 0))])
    across *= _APART * side / np.maximum(np.hypot(*across), 1e-6)
    spots = [np.rint(np.stack([rows, columns]) + sign * across).astype(int) for sign in (-1, 1)]
    limit = np.array(tones.shape)[:, None] - side // 2
    valid = np.all([((spot >= side // 2) & (spot < limit)).all(0) for spot in spots], axis=0)
    (before, behind) = (tuple(spot[:, valid]) for spot in spots)
    # Where a finger is thin, or two are close, the other side of the line is not reached.
    apart = (distance[before] < line - side / 4) & (distance[behind] > line + side / 4)
    steps = np.abs(tones[before].astype(np.float32) - tones[behind])[apart]
    return float(steps.mean()) if steps.size else None
