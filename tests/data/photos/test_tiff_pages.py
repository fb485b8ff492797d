"""A TIFF of several pages comes back page by page; thumbnails of a page go with what they show."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from data.photos import count_pages, count_pixels, encode_photo, is_book, next_page, read_photo
from inference.book import restore_book
from inference.restorer import Restored
from tests.data.photos.files import assert_refused, filled, mask_of, noise, tiff_of

GREY = 90
# Pillow, which decodes some kinds and is a witness here, reads no BigTIFF of the other order.
LAYOUTS = [{"byteorder": order, "bigtiff": big} for order, big in (("<", False), ("<", True), (">", False))]


def even(size: tuple[int, int]) -> np.ndarray:
    return np.full((*size, 3), GREY, np.uint8)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("below", [False, True])
@pytest.mark.parametrize("compression", ["zlib", None, "jpeg"])
def test_thumbnails_of_a_page_are_dropped_and_wiped_and_masks_stay(tmp_path, layout, below, compression):
    path = tmp_path / "x.tif"
    small, seen = noise((20, 26, 3), 40), noise((60, 78), 2).astype(bool)
    first = {"subifds": int(below), "description": "a page", "compression": compression}
    mask_page = {"subfiletype": 4, "photometric": "mask"}
    path.write_bytes(tiff_of((even((60, 78)), first), (small, {"subfiletype": 1}), (seen, mask_page), **layout))
    photo = read_photo(path)
    pixels, mask = filled(photo)
    assert (count_pages(path), photo.pages, photo.pixels.shape) == (1, 1, (60, 78, 3))
    assert small.tobytes() in photo.source
    encoded = encode_photo(photo, pixels, mask)
    assert "thumbnails and overviews of a TIFF's page are dropped" in encoded.notes
    assert small.tobytes() not in encoded.content
    path.write_bytes(encoded.content)
    assert np.array_equal(read_photo(path).pixels, pixels)
    assert np.array_equal(np.asarray(Image.open(path))[..., :3], pixels)
    with tifffile.TiffFile(path) as file:
        first, second = (each for page in file.pages for each in (page, *(page.pages or ())))
        assert first.description == "a page"
        assert np.array_equal(second.asarray(), seen)


def white_out(pixels: np.ndarray) -> Restored:
    """A dark corner becomes white."""
    mask = np.zeros(pixels.shape[:2], np.uint8)
    mask[:8, :8] = (pixels[:8, :8] < 50).all(-1)
    white = np.where(mask[..., None] == 1, 255, pixels).astype(np.uint8)
    return Restored(white, mask, int(mask.any()), {"locate": 1.0})


@pytest.mark.parametrize("order", "<>")
def test_every_page_is_restored_with_its_own_strips_and_tags(tmp_path, order):
    """Pages of four kinds and sizes; the second and the fourth are clean, and the first has a thumbnail behind it."""
    path = tmp_path / "book.tif"
    kinds = [{"compression": "zlib"}, {}, {"compression": "jpeg"}, {"compression": "lzw", "tile": (32, 32)}]
    pages = []
    for number, options in enumerate(kinds):
        page = even((40 + 8 * number, 64))
        page[:8, :8] *= number % 2
        pages.append((page, {"description": f"page {number}", **options}))
    path.write_bytes(tiff_of(pages[0], (pages[0][0][::4, ::4], {"subfiletype": 1}), *pages[1:], byteorder=order))
    assert is_book(path)
    assert (count_pages(path), count_pixels(path)) == (4, 64 * 64)
    assert_refused(path, "holds 4 pages")
    before = {tag.code: tag.value for tag in tifffile.TiffFile(path).pages[0].tags}
    book = restore_book(path, white_out)
    assert (book.pages, book.changed, book.occluders, book.steps) == (4, 2, 2, {"locate": 4.0})
    assert len(book.notes) == 2
    with tifffile.TiffFile(io.BytesIO(book.content)) as file:
        assert {code: file.pages[0].tags[code].value for code in (282, 283, 296)}.items() <= before.items()
        for number, page in enumerate(file.pages):
            wanted = even((40 + 8 * number, 64))
            wanted[:8, :8] = GREY if number % 2 else 255
            assert page.description == f"page {number}"
            assert np.array_equal(page.asarray(), wanted)
        assert number == 3
    untouched = restore_book(path, lambda pixels: Restored(pixels, np.zeros(pixels.shape[:2], np.uint8), 0))
    assert (untouched.content, untouched.changed) == (path.read_bytes(), 0)


@pytest.mark.parametrize("codec", ["group3", "group4", "tiff_ccitt"])
def test_faxes_of_several_pages_keep_their_values(tmp_path, codec):
    path = tmp_path / "fax.tif"
    frames = [Image.fromarray(noise((60, 78), 2, seed=seed) * 255).convert("1") for seed in range(3)]
    frames[0].save(path, compression=codec, save_all=True, append_images=frames[1:], dpi=(204, 196))
    photo, wanted = read_photo(path, several=True), []
    while photo:
        pixels, mask = filled(photo, (255, 255, 255))
        wanted.append(pixels)
        content = encode_photo(photo, pixels, mask).content
        photo = next_page(photo, content)
    with Image.open(io.BytesIO(content)) as image:
        for number, page in enumerate(wanted):
            image.seek(number)
            assert np.array_equal(np.asarray(image.convert("RGB")), page)
            assert (image.info["compression"], image.info["dpi"]) == ("group4", (204, 196))


@pytest.mark.parametrize("pages", [1, 2])
def test_strips_that_share_their_bytes_are_parted(tmp_path, pages):
    """Some writers store equal strips once; a change of one must not show in the other."""
    path, mask = tmp_path / "x.tif", mask_of((40, 40))
    tifffile.imwrite(path, np.stack([even((40, 40))] * pages), rowsperstrip=10, photometric="rgb", metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as file:
        for page in file.pages:
            page.tags[273].overwrite(file.pages[0].dataoffsets[:1] * 4)
    photo = read_photo(path, several=True)
    content = encode_photo(photo, np.full_like(photo.pixels, 200), mask).content
    first, *rest = (page.asarray() for page in tifffile.TiffFile(io.BytesIO(content)).pages)
    assert np.array_equal(first, np.where(mask[..., None] == 1, 200, even((40, 40))))
    assert all((page == GREY).all() for page in rest)
    assert len(rest) == pages - 1
