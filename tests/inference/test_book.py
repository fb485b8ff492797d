"""A PDF keeps all but what covers its page pictures."""

import io
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops

from data.images import BadImageError
from data.photos import jpeg
from inference.book import restore_book
from inference.files import list_pictures
from inference.folder import restore_folder
from inference.restorer import Restored
from tests.inference.stand_ins import page, paint_over

pikepdf = pytest.importorskip("pikepdf")
NAME, RED = pikepdf.Name, (230, 20, 20)


def page_picture(covered: bool, mode: str = "RGB") -> Image.Image:
    return Image.fromarray(page(400, 320, (300, 0, 360, 80) if covered else None)).convert(mode)


def paint(pixels: np.ndarray) -> Restored:
    """What is red, or of the grey that red becomes, turns mid-grey."""
    is_covered = (np.abs(pixels - 82.0) < 9).all(2, keepdims=True)
    return paint_over(np.where(is_covered, np.uint8(RED), pixels))


def pdf_of(path: Path, pictures: list[tuple[bytes, dict]], turned: int = 0, forms: bool = False) -> bytes:
    pdf = pikepdf.new()
    for content, keys in pictures:
        sheet, stream = pdf.add_blank_page(page_size=(320, 400)), pikepdf.Stream(pdf, content, **keys)
        held = pikepdf.Dictionary(XObject=pikepdf.Dictionary(Im0=pdf.make_indirect(stream)))
        drawn = b"q 320 0 0 400 0 0 cm /Im0 Do Q BT 3 Tr ET % text layer"
        if forms:
            form = pikepdf.Stream(pdf, drawn, Type=NAME.XObject, Subtype=NAME.Form, Resources=held)
            held, drawn = pikepdf.Dictionary(XObject=pikepdf.Dictionary(Fm0=pdf.make_indirect(form))), b"/Fm0 Do"
        sheet.Resources, sheet.Contents, sheet.Rotate = held, pdf.make_stream(drawn), turned
        sheet.Thumb = pdf.make_indirect(pikepdf.Stream(pdf, b"thumb"))
    with pdf.open_outline() as outline:
        outline.root.append(pikepdf.OutlineItem("Chapter", 0))
    pdf.docinfo["/Title"] = "A book"
    pdf.save(path, deterministic_id=True)
    return path.read_bytes()


def picture(covered: bool, mode: str = "RGB", turned: int = 0, lossy: bool = True) -> tuple[bytes, dict]:
    """A page's picture as it lies in a PDF: its bytes, and its keys."""
    buffer, shown = io.BytesIO(), page_picture(covered, mode).rotate(turned, expand=True)
    shown.save(buffer, "JPEG", quality=92, subsampling=0)
    keys = {"Type": NAME.XObject, "Subtype": NAME.Image, "Width": shown.width, "Height": shown.height,
            "BitsPerComponent": 8, "ColorSpace": NAME.DeviceRGB if mode == "RGB" else NAME.DeviceGray,
            "Filter": NAME.DCTDecode if lossy else NAME.FlateDecode}  # fmt: skip
    return buffer.getvalue() if lossy else zlib.compress(shown.tobytes()), keys


@pytest.mark.parametrize("forms", [False, True])
def test_page_pictures_are_restored_in_place_and_all_else_stays(tmp_path, forms):
    pictures = [picture(True), picture(False), picture(True, lossy=False), picture(True, "L", lossy=False)]
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


def test_a_picture_that_cannot_be_read_stays_and_the_others_go_on(tmp_path):
    content, keys = picture(True)
    odd = [(content[:3000], keys), (content, keys | {"ColorSpace": pikepdf.Array([NAME.Separation, NAME.Black])}),
           (content, keys | {"Filter": NAME.FooDecode}), (content, keys | {"Filter": 5}),
           (content, keys | {"Filter": NAME.JBIG2Decode}), (content, keys | {"Decode": pikepdf.Array([0, 0.5] * 3)}),
           (content, keys | {"DecodeParms": pikepdf.Dictionary(ColorTransform=0)})]  # fmt: skip
    pdf_of(tmp_path / "a.pdf", [*odd, (content, keys)])
    book = restore_book(tmp_path / "a.pdf", paint)
    assert (book.pages, book.changed, len(book.unseen)) == (8, 1, 7)
    reasons = ("cut short", "its colour space, Separation", "not read", "not read",
               "JBIG2|not read", "/Decode", "coded in a rare way")  # fmt: skip
    for number, (note, reason) in enumerate(zip(book.notes, reasons, strict=True), 1):
        assert re.fullmatch(rf"page {number}: a picture stays as it is \(.*({reason})[^<>]*\)", note)


@pytest.fixture
def whole(tmp_path):
    """A PDF of three pages, laid out as scanners do: page, contents, picture, and so on."""
    pdf_of(tmp_path / "a.pdf", [picture(number == 1) for number in range(3)])
    with pikepdf.open(tmp_path / "a.pdf") as pdf:
        yield pdf


def signed(pdf: pikepdf.Pdf, **keys: object) -> None:
    form = pdf.make_indirect(pikepdf.Dictionary(FT=NAME.Sig, **keys))
    pdf.Root.AcroForm = pikepdf.Dictionary(Fields=pikepdf.Array([form]), SigFlags=3 * (not keys))


def test_what_must_not_be_changed_is_refused(tmp_path, whole):
    signed(whole)
    whole.save(tmp_path / "a field for a signature.pdf")
    assert restore_book(tmp_path / "a field for a signature.pdf", paint).changed == 1
    signed(whole, V=pikepdf.Dictionary(Contents=b"0"))
    whole.save(tmp_path / "signature.pdf")
    for name, user in (("password", "u"), ("encrypted", "")):
        whole.save(tmp_path / f"{name}.pdf", encryption=pikepdf.Encryption(owner="o", user=user))
    for words in ("password", "encrypted", "signature"):
        with pytest.raises(BadImageError, match=rf"\.pdf: .*{words}"):
            restore_book(tmp_path / f"{words}.pdf", paint)


def test_a_damaged_pdf_fails_and_is_not_repaired_to_one_with_fewer_pages(tmp_path):
    path = tmp_path / "b.pdf"
    content = pdf_of(path, [picture(number == 1) for number in range(3)])
    damaged = [content[: len(content) * tenths // 10] for tenths in (1, 5, 9)] + [b"%PDF-1.7 nothing"]
    for words in (rb"/Kids \[ (\d+)", rb"/Contents (\d+)", rb"/Im0 (\d+)"):  # An object is overwritten by blanks.
        number = re.search(words, content)[1]
        blank = re.search(rb"\n%s 0 obj.*?endobj" % number, content, re.DOTALL)
        damaged.append(content[: blank.start()] + b" " * len(blank[0]) + content[blank.end() :])
    damaged.append(content.replace(b"/Count 3", b"/Count 4"))
    named = re.search(rb"/Im0 (\d+)", content)[1]
    damaged.append(content.replace(b"/Im0 %s" % named, b"/Im0 %s" % (b"9" * len(named))))
    for each in damaged:
        path.write_bytes(each)
        with pytest.raises(BadImageError, match=r"b\.pdf: a PDF that is broken or cut short"):
            restore_book(path, paint)
    for each in (content + bytes(5000), b"junk\n" * 200 + content):
        path.write_bytes(each)
        assert restore_book(path, paint).changed == 1


def test_pages_of_strips_stencils_and_inline_pictures_are_said_not_to_be_looked_at(tmp_path, whole):
    content, keys = picture(True)
    whole.pages[0].Contents = whole.make_stream(b"q BI /W 1 /H 1 /BPC 8 /CS /G ID \0 EI Q")
    del whole.pages[0].Resources["/XObject"]
    whole.pages[1].Resources.XObject.Im0.ImageMask = True
    strip, vectors = (whole.add_blank_page(page_size=(320, 400)) for _ in range(2))
    stream = pikepdf.Stream(whole, content, **keys | {"Height": 100})
    strip.Resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(Im0=whole.make_indirect(stream)))
    vectors.Contents = whole.make_stream(b"0 0 10 10 re f")
    (tmp_path / "in").mkdir()
    whole.save(tmp_path / "in" / "a.pdf")
    (outcome,) = restore_folder(paint, list_pictures(tmp_path / "in", ""), tmp_path / "out")
    assert str(outcome) == "untouched: a.pdf: 5 pages, 3 not looked at, no occluder found, copied"
    assert outcome.notes[0].startswith("not looked at: page 1, 2, 4 (")
    del whole.pages[4], whole.pages[2]
    whole.save(tmp_path / "in" / "a.pdf")
    (outcome,) = restore_folder(paint, list_pictures(tmp_path / "in", ""), tmp_path / "out")
    assert outcome.message == "3 pages, 3 not looked at, copied"


def test_pictures_of_patterns_and_annotations_are_restored(tmp_path, whole):
    first, second = whole.pages[0].Resources, whole.pages[1].Resources.XObject.Im0
    form = pikepdf.Stream(whole, b"/Im0 Do", Resources=pikepdf.Dictionary(XObject=pikepdf.Dictionary(Im0=second)))
    form = whole.make_indirect(form)
    first.Pattern = pikepdf.Dictionary(P=form)
    whole.pages[2].Annots = pikepdf.Array([pikepdf.Dictionary(AP=pikepdf.Dictionary(N=form))])
    for pages, path in ((slice(1, 3), tmp_path / "pattern.pdf"), (slice(0, 1), tmp_path / "stamp.pdf")):
        with pikepdf.new() as pdf:
            pdf.pages.extend(whole.pages)
            del pdf.pages[pages]
            if path.stem == "stamp":
                del pdf.pages[0]
            pdf.save(path)
        assert restore_book(path, paint).changed == 1


def test_odd_objects_cost_no_more_than_themselves(tmp_path, whole):
    whole.pages[0].Rotate, whole.pages[1].Resources.XObject.Odd = NAME.X, 5
    whole.pages[2].Resources.XObject = NAME.Foo
    whole.save(tmp_path / "odd.pdf")
    assert restore_book(tmp_path / "odd.pdf", paint).changed == 1


def black_out(seen: list[np.ndarray]) -> Callable[[np.ndarray], Restored]:
    """A restorer that blackens `BOX`, and notes what it has seen."""

    def restore(pixels: np.ndarray) -> Restored:
        seen.append(pixels.copy())
        mask = np.zeros(pixels.shape[:2], np.uint8)
        mask[BOX] = 1
        return Restored(pixels * (1 - mask[..., None]), mask, 1)

    return restore


BOX = np.s_[64:160, 32:96]
SIZE = (310, 317)  # Rows of few bits do not end with a byte.
# What white and black are, of colours that /Decode does not turn round.
SAMPLES = {"DeviceGray": ([-1], [0]), "CalGray": ([-1], [0]), "CalRGB": ([-1] * 3, [0] * 3), "Indexed": ([1], [2]),
           "DeviceRGB": ([-1] * 3, [0] * 3), "DeviceCMYK": ([0] * 4, [-1, -1, -1, 0])}  # fmt: skip


def space_of(name: str) -> pikepdf.Object:
    told = {"Indexed": [NAME.Indexed, NAME.DeviceRGB, 3, bytes([90, 90, 90, 255, 255, 255, 0, 0, 0, 70, 70, 70])],
            "CalRGB": [NAME.CalRGB, pikepdf.Dictionary(WhitePoint=[0.95, 1, 1.09])],
            "CalGray": [NAME.CalGray, pikepdf.Dictionary(WhitePoint=[0.95, 1, 1.09], Gamma=1.8)]}  # fmt: skip
    return pikepdf.Array(told[name]) if name in told else NAME(f"/{name}")


@pytest.mark.parametrize("turned_round", [False, True])
@pytest.mark.parametrize(("bits", "space"), [
    (1, "DeviceGray"), (4, "DeviceGray"), (16, "DeviceGray"), (8, "CalGray"), (8, "CalRGB"), (16, "DeviceRGB"),
    (8, "DeviceCMYK"), (2, "Indexed"),
])  # fmt: skip
def test_a_lossless_picture_keeps_space_bits_and_what_is_not_covered(tmp_path, bits, space, turned_round):
    white, black = (np.array(each) & 2**bits - 1 for each in SAMPLES[space])
    samples = np.random.default_rng(1).integers(0, min(2**bits, 4), (*SIZE, len(white)), dtype=np.uint16)
    samples[:9] = white
    last = 2**bits - 1
    decode = [last, 0] if space == "Indexed" else [1, 0] * len(white)
    stored = (last - samples if turned_round else samples).astype(np.uint16)
    packed = (stored[..., None] >> np.arange(bits)[::-1] & 1).astype(np.uint8).reshape(SIZE[0], -1)
    keys = {"Type": NAME.XObject, "Subtype": NAME.Image, "Width": SIZE[1], "Height": SIZE[0], "BitsPerComponent": bits,
            "ColorSpace": space_of(space), "Filter": NAME.FlateDecode}  # fmt: skip
    keys |= {"Decode": pikepdf.Array(decode)} if turned_round else {}
    keys |= {"Alternates": pikepdf.Array([pikepdf.Dictionary(DefaultForPrinting=True)])}
    pdf_of(tmp_path / "a.pdf", [(zlib.compress(np.packbits(packed, axis=1).tobytes() + b"\n"), keys)])
    book = restore_book(tmp_path / "a.pdf", black_out(seen := []))
    assert (book.changed, book.notes) == (1, [])
    assert seen[0].dtype == (np.uint16 if bits == 16 else np.uint8)
    assert (seen[0][:9] == np.iinfo(seen[0].dtype).max).all()
    with pikepdf.open(io.BytesIO(book.content)) as pdf:
        new = pdf.pages[0].Resources.XObject.Im0
        assert (new.get("/Decode"), new.ColorSpace, new.BitsPerComponent) == (keys.get("Decode"), space_of(space), bits)
        assert "/Alternates" not in new
        rows = np.frombuffer(new.read_bytes(), np.uint8).reshape(SIZE[0], -1)
    unpacked = np.unpackbits(rows, axis=1)[:, : packed.shape[1]]
    expected = samples.copy()
    expected[BOX] = black
    expected = (last - expected if turned_round else expected).astype(np.uint16)
    assert np.array_equal(unpacked.reshape(*samples.shape, bits) @ (1 << np.arange(bits)[::-1]), expected)


@pytest.mark.parametrize("jpeglib", [True, False])
@pytest.mark.parametrize(("mode", "turned_round", "outer"), [
    ("L", False, "FlateDecode"), ("L", True, ""), ("RGB", True, ""), ("RGB", False, "ASCIIHexDecode"),
    ("CMYK", False, ""), ("CMYK", True, ""),
])  # fmt: skip
def test_a_jpeg_is_told_by_decode_unwrapped_and_neither_turned_nor_inverted_by_its_own_marks(
    tmp_path, monkeypatch, mode, turned_round, outer, jpeglib
):
    shown = Image.linear_gradient("L").resize((320, 400)).convert("RGB")
    shown.paste("white", (0, 0, 320, 16))
    shown = shown.convert(mode)
    # Pillow writes inks turned round, which it says in Adobe's mark.
    stored = ImageChops.invert(shown) if turned_round != (mode == "CMYK") else shown
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    stored.save(buffer, "JPEG", quality=92, exif=exif)
    wrapped = {"": bytes, "FlateDecode": zlib.compress, "ASCIIHexDecode": lambda data: data.hex().encode() + b">"}
    _, keys = picture(False)
    keys |= {"ColorSpace": NAME({"L": "/DeviceGray", "RGB": "/DeviceRGB", "CMYK": "/DeviceCMYK"}[mode]),
             "Filter": pikepdf.Array([NAME(f"/{each}") for each in (outer, "DCTDecode") if each])}  # fmt: skip
    keys |= {"Decode": pikepdf.Array([1, 0] * len(shown.getbands()))} if turned_round else {}
    pdf_of(tmp_path / "a.pdf", [(wrapped[outer](buffer.getvalue()), keys)])
    if not jpeglib:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        jpeg._library.cache_clear()
    book = restore_book(tmp_path / "a.pdf", black_out(seen := []))
    assert book.changed == 1
    assert [note[:31] for note in book.notes] == ["page 1: every block of the JPEG"] * (not jpeglib)
    assert np.abs(seen[0] - np.int16(shown.convert("RGB"))).max() < 40
    assert (seen[0][:8] > 250).all()
    with pikepdf.open(io.BytesIO(book.content)) as pdf:
        new = pdf.pages[0].Resources.XObject.Im0
        assert (new.Filter, new.get("/Decode")) == (NAME.DCTDecode, keys.get("Decode"))
        result = Image.open(io.BytesIO(new.read_raw_bytes()))
        result = ImageChops.invert(result) if turned_round != (mode == "CMYK") else result
    result = np.int16(result.convert("RGB"))
    assert (result[BOX] < 30).all()
    assert np.abs(result - seen[0])[200:].max() <= (4 if jpeglib else 30)


def test_books_and_photos_of_a_folder_are_restored_in_one_run(tmp_path):
    def told(**orders: bool) -> list[str]:
        outcomes = restore_folder(paint, list_pictures(tmp_path / "in", ""), tmp_path / "out", **orders)
        return [str(outcome) for outcome in outcomes]

    (tmp_path / "in").mkdir()
    pdf_of(tmp_path / "in" / "b.pdf", [picture(True), picture(False)])
    before = pdf_of(tmp_path / "in" / "clean.pdf", [picture(False), picture(False, "L", lossy=False)])
    (tmp_path / "in" / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    (tmp_path / "in" / "empty.pdf").touch()
    page_picture(True).save(tmp_path / "in" / "photo.png")
    broken = "failed: broken.pdf: a PDF that is broken or cut short"
    empty = "failed: empty.pdf: not a picture that can be read (it is empty)"
    assert told(look=True) == [
        "found: b.pdf: 2 pages, 1 would be restored, 1 occluder", broken,
        "untouched: clean.pdf: 2 pages, no occluder found", empty,
        "found: photo.png: 3.75% would be removed, certainty 1.00",
    ]  # fmt: skip
    assert told() == [
        "restored: b.pdf: 2 pages, 1 restored, 1 occluder", broken,
        "untouched: clean.pdf: 2 pages, no occluder found, copied", empty, "restored: photo.png: 1 occluder",
    ]  # fmt: skip
    assert (tmp_path / "out" / "clean.pdf").read_bytes() == before
    # A book has no mask.
    assert [line[0] for line in told(save_mask=True)] == [*"sfsfr"]
