import cv2
import numpy as np
import pytest
from PIL import Image

from data.images import turn_upright
from data.masks import binarise_mask, contest_mask_image, read_mask, write_mask
from tests.data.photos.files import assert_refused, exif_of


def blob(*values, dtype=np.uint8):
    """A page with as many areas side by side as there are values."""
    grey = np.zeros((60, 80), dtype)
    for number, value in enumerate(values):
        grey[20:40, 10 + 20 * number : 30 + 20 * number] = value
    return grey


MASK = blob(1, 1)


def coloured(*colours, page=(0, 0, 0)):
    return Image.fromarray(np.uint8([page, *colours])[blob(*range(1, len(colours) + 1))])


def indexed(indices, *palette):
    image = Image.fromarray(indices, "P")
    image.putpalette([value for colour in palette for value in colour])
    return image


def soft(highest=255):
    return cv2.GaussianBlur(blob(highest, highest), (0, 0), 2)


ENCODINGS = {
    "0/1": Image.fromarray,
    "0/255": lambda mask: Image.fromarray(mask * 255),
    "palette": contest_mask_image,
    "38/75": lambda mask: contest_mask_image(mask).convert("L"),
    "rgb": lambda mask: contest_mask_image(mask).convert("RGB"),
    "bits": lambda mask: Image.fromarray(mask * 255).convert("1"),
    "16 bit": lambda mask: Image.fromarray(mask.astype(np.uint16) * 65535),
    "alpha": lambda mask: Image.fromarray(np.dstack([mask * 0 + 255] * 3 + [mask * 255])),
    "opaque": lambda mask: Image.fromarray(np.dstack([mask * 255] * 3 + [mask * 0 + 255])),
    "alpha and grey": lambda mask: Image.fromarray(np.dstack([mask * 255] * 2), "LA"),
}
# One reading: what is not the page is an occluder, at a soft edge from the middle on.
READ = {
    "classes 0 1 2": Image.fromarray(blob(1, 2)),
    "0 and 30": Image.fromarray(blob(30, 30)),
    "0 and 60": Image.fromarray(blob(60, 60)),
    "16 bit, 0 and 300": Image.fromarray(blob(300, 300, dtype=np.uint16)),
    "16 bit classes": Image.fromarray(blob(1, 2, dtype=np.uint16)),
    "32 bit": Image.fromarray(blob(70, 70, dtype=np.int32)),
    "red": coloured((255, 0, 0), (255, 0, 0)),
    "blue": coloured((0, 0, 255), (0, 0, 255)),
    "a colour for each class": coloured((128, 0, 0), (0, 0, 192)),
    "contest colours": coloured((0, 128, 0), (0, 128, 0), page=(128, 0, 0)),
    "contest palette in another order": indexed(1 - blob(1, 1), (0, 128, 0), (128, 0, 0)),
    "black and white palette in another order": indexed(1 - blob(1, 1), (255, 255, 255), (0, 0, 0)),
    "palette with black last": indexed(2 - blob(1, 2), (90, 80, 0), (200, 0, 0), (0, 0, 0)),
    "palette with a page of its own": indexed(blob(1, 2), (250, 250, 200), (200, 0, 0), (0, 0, 200)),
    "soft edge": Image.fromarray(soft()),
    "soft edge, not quite white": Image.fromarray(soft(180)),
    "soft red edge": Image.fromarray(np.dstack([soft(), soft() * 0, soft() * 0])),
    "soft alpha": Image.fromarray(np.dstack([soft() * 0 + 255, soft()]), "LA"),
}
REFUSED = {
    "three levels": (Image.fromarray(blob(128, 255)), "0, 128, 255"),
    "ignored border": (Image.fromarray(blob(1, 255)), "0, 1, 255"),
    "light page": (Image.fromarray(255 - blob(55, 55)), "200, 255"),
    "classes from 1": (Image.fromarray(blob(1, 1) + 1), "1, 2"),
    "one grey": (Image.fromarray(blob() + 30), "30"),
    "levels in 16 bit": (Image.fromarray(blob(300, 900, dtype=np.uint16)), "0, 300, 900"),
    "faint": (Image.fromarray(soft(40)), "0, "),
    "white page": (coloured((255, 0, 0), page=(255, 255, 255)), r"\(255, 0, 0\), \(255, 255, 255\)"),
    "contest and black": (coloured((0, 128, 0), (128, 0, 0)), r"\(0, 0, 0\)"),
    "palette without its first": (indexed(blob(1, 1) + 1, (9, 9, 9), (90, 80, 0), (200, 0, 0)), r"\(90, 80, 0\)"),
    "a photograph": (Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)), "256 colours"),
    "alpha against grey": (Image.fromarray(np.dstack([blob(255, 0), blob(0, 255)]), "LA"), "alpha"),
    "negative": (Image.fromarray(blob(70, dtype=np.int32) - 1), "-1 to 69"),
    "other modes": (Image.fromarray(blob(1).astype(np.float32)), "mode F"),
}


WHOLE = {"none": MASK * 0, "all": MASK * 0 + 1, "some": MASK}
CASES = {name: (image, MASK) for name, image in READ.items()}
CASES |= {f"{name}, {part}": (encode(mask), mask) for name, encode in ENCODINGS.items() for part, mask in WHOLE.items()}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_what_is_not_the_page_is_an_occluder_and_stands_as_the_photo_does(tmp_path, name, orientation):
    image, mask = CASES[name]
    path = tmp_path / f"mask.{'tif' if image.mode == 'I' else 'png'}"
    image.save(path, exif=exif_of(orientation))
    read = read_mask(path)
    assert (read.dtype, set(read.flat) <= {0, 1}) == (np.uint8, True)
    wrong = (read != turn_upright(mask, orientation)).mean()
    assert wrong < (0.01 if "soft" in name else 1e-9)  # A blur rounds corners off.


@pytest.mark.parametrize("encoding", REFUSED)
def test_what_can_be_read_in_several_ways_is_refused_with_what_was_seen(tmp_path, encoding):
    image, seen = REFUSED[encoding]
    path = tmp_path / f"mask.{'tif' if image.mode in 'IF' else 'png'}"
    image.save(path)
    assert_refused(path, f"a .*{seen}", read_mask)


def test_a_value_of_exactly_40_is_not_left_over():
    """The write-up set what is below 40 to 0 and what is above to 255, and 40 stayed 40."""
    assert binarise_mask(np.array([[38, 39, 40, 41, 75]], np.uint8)).tolist() == [[0, 0, 1, 1, 1]]
    assert binarise_mask(np.array([[0, 40, 127, 128, 255]], np.uint8)).tolist() == [[0, 0, 0, 1, 1]]
    assert binarise_mask(np.zeros((0, 4), np.uint8)).shape == (0, 4)


def test_a_written_mask_is_grey_0_and_255_and_a_broken_one_is_named(tmp_path):
    path = tmp_path / "mask.png"
    write_mask(path, MASK)
    assert Image.open(path).mode == "L"
    assert np.array_equal(np.asarray(Image.open(path)), MASK * 255)
    assert np.array_equal(read_mask(path), MASK)
    Image.fromarray(MASK * 255).save(tmp_path / "mask.jpg", quality=60)
    assert np.abs(read_mask(tmp_path / "mask.jpg").astype(int) - MASK).mean() < 0.01
    path.write_bytes(path.read_bytes()[:-40])
    assert_refused(path, "cut short", read_mask)
