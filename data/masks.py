"""Occlusion masks: every encoding that can be read in one way only, and what is refused."""

import os

import cv2
import numpy as np
from PIL import Image

from data.images import BadImageError, decode_picture, encode_image, open_picture, stored_orientation, turn_upright
from utils.files import write_bytes

CONTEST_PALETTE = (128, 0, 0, 0, 128, 0)  # The contest's palette: index 0 is background, index 1 is the occluder
_CONTEST_COLOURS = {CONTEST_PALETTE[:3], CONTEST_PALETTE[3:]}
_CONTEST_GREYS, _CONTEST_CUT = (38, 75), 40  # The same read as grey, and where the write-up cut between them
_LAST_CLASS = 20  # Grey values up to this are numbers of classes, all of them occluders but 0
_LEVELS = 8  # A mask of at most so many values has levels; one of more has a soft edge, or was a JPEG file.
# Such a mask is black and white, more or less: no value of its brightest pixels is below this, no grey is so coloured.
_DIM, _COLOURED = 64, 24
_HALF_MARKED = 0.02  # Of what is marked, this share may lie in even areas that are neither black nor white
_EXPECTED = "expected 0 for the page and one value for the occluder, classes 0, 1, 2, ... or the contest's palette"


def binarise_mask(values: np.ndarray) -> np.ndarray:
    """Turns a grey mask of any known encoding into uint8 height x width with 1 = occluder.

    Known encodings, in 8 or 16 bits: 0 and any other value, with a soft edge or without; classes 0, 1, 2, ..., of which
    all but 0 are occluders; the contest's palette read as grey, 38/75, where 38 is the background. The write-up
    compared such greys with 40 and left a value of exactly 40 neither 0 nor 255; here every value falls on one side.
    `ValueError` where a mask can be read in several ways, with the values that were seen."""
    if values.dtype.itemsize > 1 and not (values % 257).any():
        values = values // 257
    values = values.astype(np.uint8 if values.max(initial=0) <= 255 else np.uint16)
    if not values.size:
        return values.astype(np.uint8)
    counts = cv2.calcHist([values], [0], None, [65536], [0, 65536]).astype(int).ravel()
    levels = np.flatnonzero(counts)
    lowest, highest = int(levels[0]), int(levels[-1])
    if (lowest == _CONTEST_GREYS[0] and highest <= _CONTEST_GREYS[1]) or lowest == highest == _CONTEST_GREYS[1]:
        return (values >= _CONTEST_CUT).astype(np.uint8)
    seen = f"values seen: {_listed(levels.tolist(), counts[levels].tolist())}"
    if lowest == highest and lowest not in (0, 1, 255):
        raise ValueError(f"a mask of one value, which may mean page or occluder ({seen}); {_EXPECTED}")
    if lowest != highest and lowest > highest // 16:
        raise ValueError(f"a mask without black, which is to mean the page ({seen}); {_EXPECTED}")
    few = len(levels) <= _LEVELS
    if few and highest <= _LAST_CLASS:
        return (values > 0).astype(np.uint8)
    if len(levels) > 2 and (_even_between(values, 0 if few else highest / 8) or (not few and highest < _DIM)):
        raise ValueError(f"a mask of more than two values, of which nobody knows what they mean ({seen}); {_EXPECTED}")
    return (values >= (highest + 1) // 2).astype(np.uint8)


def _even_between(values: np.ndarray, margin: float) -> bool:
    """Whether much of what is marked has one value over areas, farther than `margin` from both ends."""
    square, highest = np.ones((3, 3), np.uint8), values.max()
    even = cv2.erode(values, square) == cv2.dilate(values, square)
    between = even & (values > margin) & (values < highest - margin)
    return bool(between.sum() > _HALF_MARKED * np.count_nonzero(values > margin))


def read_mask(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads a mask file of any encoding as uint8 height x width with 1 = occluder, upright.

    Besides the greys of `binarise_mask`: palettes and colours, where black, the contest's dark red or, in a palette
    without either, index 0 is the page; an alpha channel, where the colours do not differ or say the same.
    BadImageError: not a picture, cut short, or it can be read in several ways; then with the values that were seen.
    """
    with open_picture(path) as image:
        decode_picture(image, path)
        try:
            mask = _read_channels(image)
        except ValueError as error:
            raise BadImageError(f"{os.fspath(path)}: {error}") from error
        return turn_upright(mask, stored_orientation(image))


def _read_channels(image: Image.Image) -> np.ndarray:
    if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "I") and not image.mode.startswith("I;16"):
        raise ValueError(f"a mask of mode {image.mode}; expected grey, palette or RGB")
    if not image.has_transparency_data:
        return _read_colours(image)
    alpha, colours = np.asarray(image.convert("RGBA").getchannel("A")), image.convert("RGBA").convert("RGB")
    if alpha.min(initial=255) == 255:
        return _read_colours(colours)
    if all(darkest == brightest for darkest, brightest in colours.getextrema()):
        return binarise_mask(alpha)
    image.info.pop("transparency", None)
    mask = _read_colours(image if image.mode == "P" else colours)
    if not np.array_equal(mask, binarise_mask(alpha)):
        raise ValueError("a mask whose alpha channel and colours say different things; save it without alpha")
    return mask


def _read_colours(image: Image.Image) -> np.ndarray:
    if image.mode in ("1", "L") or image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
            raise ValueError(f"a mask with values from {values.min()} to {values.max()}; expected 0 to 65535")
        return binarise_mask(values)
    rgb = image.convert("RGB")
    colours = {colour: count for count, colour in rgb.getcolors(256) or ()}
    spread = max((max(colour) - min(colour) for colour in colours), default=_COLOURED)
    if spread == 0 or (not colours and np.ptp(np.asarray(rgb), axis=2).max(initial=0) <= _COLOURED):
        return binarise_mask(np.asarray(rgb.convert("L")))
    known = colours.keys() & {(0, 0, 0), *_CONTEST_COLOURS}
    if colours and colours.keys() <= _CONTEST_COLOURS:
        return np.asarray(rgb.getchannel("G").point(lambda green: green > 0), np.uint8)
    if (0, 0, 0) in known and len(known) < 3:
        brightest = np.asarray(rgb).max(axis=2)
        return (brightest > 0).astype(np.uint8) if len(colours) <= _LEVELS else binarise_mask(brightest)
    if image.mode == "P" and not known and image.getextrema()[0] == 0:
        return (np.asarray(image) > 0).astype(np.uint8)
    seen = f"colours seen: {_listed(list(colours), list(colours.values()))}" if colours else "over 256 colours"
    raise ValueError(f"a coloured mask in which nothing says what is page ({seen}); {_EXPECTED}")


def _listed(values: list, counts: list[int], most: int = 6) -> str:
    """The values that most pixels have, in order."""
    common = sorted(sorted(zip(counts, values, strict=True), reverse=True)[:most], key=lambda pair: pair[1])
    return ", ".join(str(value) for _, value in common) + (", ..." if len(values) > most else "")


def encode_mask(mask: np.ndarray) -> bytes:
    """A 0/1 mask as a grey PNG of 0 and 255."""
    return encode_image((np.asarray(mask) > 0).astype(np.uint8) * 255, ".png")


def write_mask(path: str | os.PathLike[str], mask: np.ndarray) -> None:
    """Writes `encode_mask(mask)`, atomically."""
    write_bytes(path, encode_mask(mask))


def contest_mask_image(mask: np.ndarray) -> Image.Image:
    """The contest's palette PNG of a 0/1 mask, as a Pillow image of mode P."""
    image = Image.fromarray((np.asarray(mask) > 0).astype(np.uint8), mode="P")
    image.putpalette(CONTEST_PALETTE)
    return image
