"""A PDF keeps all but what covers its page pictures."""

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.images import BadImageError
from inference.book import restore_book
from inference.files import list_pictures
from inference.folder import restore_folder
from inference.restorer import Restored
from tests.inference.stand_ins import page, paint_over

pikepdf = pytest.importorskip("pikepdf")
RED = (230, 20, 20)


def page_picture(covered: bool, mode: str = "RGB") -> Image.Image:
    return Image.fromarray(page(400, 320, (300, 0, 360, 80) if covered else None)).convert(mode)


def paint(pixels: np.ndarray) -> Restored:
    """What is red, or of the grey that red becomes, turns mid-grey."""
    is_covered = (np.abs(pixels - 82.0) < 9).all(2, keepdims=True)
    return paint_over(np.where(is_covered, np.uint8(RED), pixels))


def pdf_of(path: Path, pictures: list[tuple[bytes, dict]], turned: int = 0, forms: bool = False) -> bytes:
    pdf = pikepdf.new()
    for content, keys in pictures:
        sheet, stream = pdf.add_blank_page(page_size=(320, 400)), pikepdf.Stream(pdf, b"", **keys)
        stream.write(content, filter=keys["Filter"])
        held = pikepdf.Dictionary(XObject=pikepdf.Dictionary(Im0=pdf.make_indirect(stream)))
        drawn = b"q 320 0 0 400 0 0 cm /Im0 Do Q BT 3 Tr ET % text layer"
        if forms:
            form = pikepdf.Stream(pdf, drawn, Type=pikepdf.Name.XObject, Subtype=pikepdf.Name.Form, Resources=held)
            held, drawn = pikepdf.Dictionary(XObject=pikepdf.Dictionary(Fm0=pdf.make_indirect(form))), b"/Fm0 Do"
        sheet.Resources, sheet.Contents, sheet.Rotate = held, pdf.make_stream(drawn), turned
        sheet.Thumb = pdf.make_indirect(pikepdf.Stream(pdf, b"thumb"))
    with pdf.open_outline() as outline:
        outline.root.append(pikepdf.OutlineItem("Chapter", 0))
    pdf.docinfo["/Title"] = "A book"
    pdf.save(path, deterministic_id=True)
    return path.read_bytes()


def picture(covered: bool, mode: str = "RGB", turned: int = 0, jpeg: bool = True) -> tuple[bytes, dict]:
    """A page's picture as it lies in a PDF: its bytes, and its keys."""
    buffer, shown = io.BytesIO(), page_picture(covered, mode).rotate(turned, expand=True)
    shown.save(buffer, "JPEG", quality=92, subsampling=0)
    name, space = pikepdf.Name, "DeviceRGB" if mode == "RGB" else "DeviceGray"
    keys = {"Type": name.XObject, "Subtype": name.Image, "Width": shown.width, "Height": shown.height,
            "BitsPerComponent": 8, "ColorSpace": name(f"/{space}"),
            "Filter": name.DCTDecode if jpeg else name.FlateDecode}  # fmt: skip
    return buffer.getvalue() if jpeg else zlib.compress(shown.tobytes()), keys


@pytest.mark.parametrize("forms", [False, True])
def test_page_pictures_are_restored_in_place_and_all_else_stays(tmp_path, forms):
    pictures = [picture(True), picture(False), picture(True, jpeg=False), picture(True, "L", jpeg=False)]
    before = pdf_of(tmp_path / "a.pdf", pictures, forms=forms)
    book = restore_book(tmp_path / "a.pdf", paint, encode=False)
    assert (book.content, book.changed, "encode" in book.steps) == (before, 3, False)
    book = restore_book(tmp_path / "a.pdf", paint)
    assert (book.pages, book.changed, book.occluders, book.notes) == (4, 3, 3, [])
    with pikepdf.open(io.BytesIO(book.content)) as pdf, pikepdf.open(io.BytesIO(before)) as other:
        assert str(pdf.docinfo["/Title"]) == "A book"
        with pdf.open_outline() as outline:
            assert outline.root[0].title == "Chapter"
        for index, pages in enumerate(zip(pdf.pages, other.pages, strict=True)):
            assert pages[0].Contents.read_bytes() == pages[1].Contents.read_bytes()
            assert "/Thumb" not in pages[0]
            names = [page.Resources.XObject.Fm0.Resources if forms else page.Resources for page in pages]
            new, old = (np.int16(pikepdf.PdfImage(held.XObject.Im0).as_pil_image().convert("RGB")) for held in names)
            changed = (new != old).any(2)
            assert not changed[:280].any()
            assert not changed[:, 100:].any()
            assert (changed[308:352, 8:72] & (np.abs(new[308:352, 8:72] - 127) < 9).all(2)).all() == (index != 1)


@pytest.mark.parametrize("turned", [90, 180, 270])
def test_a_turned_page_is_looked_at_as_it_is_shown(tmp_path, turned):
    pdf_of(tmp_path / "a.pdf", [picture(True, turned=turned)], turned)
    seen = []
    assert restore_book(tmp_path / "a.pdf", lambda pixels: seen.append(pixels) or paint(pixels)).changed == 1
    assert paint(seen[0]).mask[305:355, 5:75].all()


def test_what_cannot_be_changed_is_said_and_a_picture_that_cannot_be_read_stays(tmp_path):
    content, keys = picture(True)
    before = pdf_of(tmp_path / "a.pdf", [(content[:3000], keys), (content, keys)])
    book = restore_book(tmp_path / "a.pdf", paint)
    assert (book.changed, [note[:30] for note in book.notes]) == (1, ["page 1: a picture stays as it "])
    with pikepdf.open(io.BytesIO(before)) as pdf:
        for name, user in (("password", "u"), ("encrypted", "")):
            pdf.save(tmp_path / f"{name}.pdf", encryption=pikepdf.Encryption(owner="o", user=user))
        pdf.Root.AcroForm = pikepdf.Dictionary(SigFlags=3, Fields=pikepdf.Array())
        pdf.save(tmp_path / "signature.pdf")
    # Whole pages, no picture.
    (tmp_path / "page 1 lacks a picture.pdf").write_bytes(before[:before.index(b"/Subtype /Image")])
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7\n" + before[500:700])
    for words in ("password", "encrypted", "signature", "broken", "page 1 lacks a picture"):
        with pytest.raises(BadImageError, match=rf"\.pdf: .*{words}"):
            restore_book(tmp_path / f"{words}.pdf", paint)


def test_books_and_photos_of_a_folder_are_restored_in_one_run(tmp_path):
    def told(**orders: bool) -> list[str]:
        outcomes = restore_folder(paint, list_pictures(tmp_path / "in", ""), tmp_path / "out", **orders)
        return [str(outcome) for outcome in outcomes]

    (tmp_path / "in").mkdir()
    pdf_of(tmp_path / "in" / "b.pdf", [picture(True), picture(False)])
    before = pdf_of(tmp_path / "in" / "clean.pdf", [picture(False), picture(False, "L", jpeg=False)])
    (tmp_path / "in" / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    page_picture(True).save(tmp_path / "in" / "photo.png")
    broken = "failed: broken.pdf: a PDF that is broken or cut short"
    assert told(look=True) == [
        "found: b.pdf: 2 pages, 1 would be restored, 1 occluder", broken,
        "untouched: clean.pdf: 2 pages, no occluder found", "found: photo.png: 3.75% would be removed, certainty 1.00",
    ]  # fmt: skip
    assert told() == [
        "restored: b.pdf: 2 pages, 1 restored, 1 occluder", broken,
        "untouched: clean.pdf: 2 pages, no occluder found, copied", "restored: photo.png: 1 occluder",
    ]  # fmt: skip
    assert (tmp_path / "out" / "clean.pdf").read_bytes() == before
    # A book has no mask.
    assert [line[0] for line in told(save_mask=True)] == [*"sfsr"]
