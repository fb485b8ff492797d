"""A TIFF of several pages comes back page by page; thumbnails of a page go with what they show."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from data.images import BadImageError
from data.photos import count_pages, count_pixels, encode_photo, is_book, next_page, read_photo
from inference.book import restore_book
from inference.restorer import Restored
from tests.data.photos.files import filled, mask_of, noise

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
    with tifffile.TiffWriter(path, **layout) as writer:
        shared, page = {"metadata": None, "photometric": "rgb"}, {"description": "a page", "compression": compression}
        writer.write(even((60, 78)), subifds=int(below), **page, **shared)
        writer.write(small, subfiletype=1, **shared)
        writer.write(seen, subfiletype=4, photometric="mask", metadata=None)
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
    with tifffile.TiffWriter(path, byteorder=order) as writer:
        for number, options in enumerate(kinds):
            page = even((40 + 8 * number, 64))
            page[:8, :8] *= number % 2
            writer.write(page, description=f"page {number}", metadata=None, photometric="rgb", **options)
            if number == 0:
                writer.write(page[::4, ::4], subfiletype=1, metadata=None, photometric="rgb")
    assert is_book(path)
    assert (count_pages(path), count_pixels(path)) == (4, 64 * 64)
    with pytest.raises(BadImageError, match=r"book\.tif: holds 4 pages"):
        read_photo(path)
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


@pytest.mark.parametrize("kind", ["dng", "thumbnail first", "sensor", "second picture below"])
def test_a_raw_photo_is_told_as_one(tmp_path, kind):
    path = tmp_path / "photo.tif"
    with tifffile.TiffWriter(path) as writer:
        extra = [(50706, "B", 4, (1, 4, 0, 0), True)] if kind == "dng" else []
        first = {"subfiletype": int(kind == "thumbnail first"), "subifds": int(kind == "second picture below")}
        writer.write(even((20, 20)), photometric="rgb", extratags=extra, metadata=None, **first)
        if kind != "dng":
            writer.write(even((20, 20))[..., 0], photometric=32803 if kind == "sensor" else "minisblack", metadata=None)
    for use in (read_photo, count_pixels, count_pages):
        with pytest.raises(BadImageError, match=r"photo\.tif: a raw photo of a camera, which is not read; save it as"):
            use(path)


def test_tiles_that_would_fill_the_memory_are_refused_however_small_the_picture(tmp_path):
    path = tmp_path / "photo.tif"
    tifffile.imwrite(path, even((20, 20)), photometric="rgb", tile=(16, 16), metadata=None)
    with tifffile.TiffFile(path, mode="r+") as file:
        for tag in ("TileWidth", "TileLength"):
            file.pages[0].tags[tag].overwrite(32752)
    for use in (read_photo, count_pixels, count_pages):
        with pytest.raises(BadImageError, match=r"photo\.tif: 32752 x 32752 = .* pixels; the limit is"):
            use(path)
