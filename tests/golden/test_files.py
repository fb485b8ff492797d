"""predict.py over every kind of file, with a fixed mask and fill: how files are read and written back.

`bytes` are those of the written file, and hold as long as the same libraries write it. `pixels` are what another reader
than the project's sees in it, and `kept` is what it tells beside them: both have to outlive a change of library.
"""

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, TiffImagePlugin

import predict
from inference import Restored, restorer
from inference.files import RECORD
from tests.data.photos.files import exif_of, png_bytes, png_chunk
from tests.golden.recorded_values import grid, sha

# The time at which it is made stands in bytes 24 to 35.
_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_PROFILE = _PROFILE[:24] + bytes(12) + _PROFILE[36:]


# A corner of a page with a finger on it, 241 x 179.
PHOTO = np.array(Image.open(Path(__file__).with_name("page.png")))


def _exif(orientation: int) -> Image.Exif:
    exif = exif_of(orientation)
    exif[0x010F] = "maker"
    return exif


def _sixteen(rgb: np.ndarray) -> np.ndarray:
    low = np.random.default_rng(1).integers(0, 256, rgb.shape, np.uint16)
    return rgb.astype(np.uint16) * 256 + low


def _pillow(mode: str = "RGB", **options: object) -> Callable[[Path, np.ndarray], None]:
    return lambda path, rgb: _of_mode(rgb, mode).save(path, **options)


def _of_mode(rgb: np.ndarray, mode: str) -> Image.Image:
    image = Image.fromarray(rgb)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray((255 - np.arange(rgb.size // 3) % 200).reshape(rgb.shape[:2]).astype(np.uint8)))
        return image.convert(mode)
    if mode == "P":
        return image.quantize(64, dither=Image.Dither.NONE)
    if mode == "I;16":
        return Image.fromarray(_sixteen(rgb)[..., 1])
    return image.convert(mode)


def _interlaced(path: Path, rgb: np.ndarray) -> None:
    path.write_bytes(png_bytes(rgb, 2, 8, interlaced=True, before=png_chunk(b"tEXt", b"Title\0a page")))


def _tags(orientation: int = 1) -> TiffImagePlugin.ImageFileDirectory_v2:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[270], tags[274] = "a page", orientation
    return tags


def _tifffile(sixteen: bool = False, **options: object) -> Callable[[Path, np.ndarray], None]:
    def write(path: Path, rgb: np.ndarray) -> None:
        tifffile.imwrite(
            path, _sixteen(rgb) if sixteen else rgb, photometric="rgb", metadata=None, description="a page",
            resolution=(300, 300), resolutionunit="inch", software=False, **options,
        )  # fmt: skip

    return write


KINDS: dict[str, Callable[[Path, np.ndarray], None]] = {
    "baseline.jpg": _pillow(quality=88, subsampling=0, exif=_exif(1), icc_profile=_PROFILE, dpi=(300, 300)),
    "progressive.jpg": _pillow(quality=88, subsampling=1, progressive=True, comment=b"a comment"),
    "grey.jpg": _pillow("L", quality=90),
    "cmyk.jpg": _pillow("CMYK", quality=90),
    "420.jpg": _pillow(quality=80, subsampling=2, restart_marker_rows=2, optimize=True),
    "turned_6.jpg": _pillow(quality=90, subsampling=2, exif=_exif(6)),
    "turned_5.jpg": _pillow(quality=90, exif=_exif(5)),
    "rgb.png": _pillow(exif=_exif(8), icc_profile=_PROFILE, dpi=(200, 200)),
    "16.png": lambda path, rgb: path.write_bytes(cv2.imencode(".png", _sixteen(rgb)[..., ::-1])[1].tobytes()),
    "grey.png": _pillow("L"),
    "grey_16.png": _pillow("I;16"),
    "bits.png": _pillow("1"),
    "palette.png": _pillow("P", transparency=3),
    "alpha.png": _pillow("RGBA"),
    "grey_alpha.png": _pillow("LA"),
    "interlaced.png": _interlaced,
    "strips.tif": _pillow(tiffinfo=_tags(), dpi=(300, 300), strip_size=8000, icc_profile=_PROFILE),
    "lzw.tif": _pillow(compression="tiff_lzw", tiffinfo=_tags(3), strip_size=8000),
    "deflate.tif": _pillow("RGBA", compression="tiff_adobe_deflate", tiffinfo=_tags()),
    "grey.tif": _pillow("L", compression="packbits"),
    "fax.tif": _pillow("1", compression="group4"),
    "tiles.tif": _tifffile(tile=(64, 64)),
    "tiles_deflate.tif": _tifffile(tile=(32, 48), compression="zlib", predictor=True, bigtiff=True),
    "16.tif": _tifffile(sixteen=True, rowsperstrip=17, byteorder=">"),
    "16_deflate.tif": _tifffile(sixteen=True, compression="zlib", predictor=True),
    "lossy.webp": _pillow(quality=85, exif=_exif(1), icc_profile=_PROFILE),
    "lossless.webp": _pillow("RGBA", lossless=True, exif=_exif(6)),
    "8.bmp": _pillow("P"),
    "24.bmp": _pillow(dpi=(300, 300)),
    "32.bmp": lambda path, rgb: path.write_bytes(cv2.imencode(".bmp", np.dstack([rgb, rgb[..., :1]]))[1].tobytes()),
}


# Its inks under the mask come from floats, and one level of one of them may be rounded otherwise elsewhere.
ROUNDED = "cmyk.jpg"


def _mask(height: int, width: int) -> np.ndarray:
    """A blob inside, and one at the border."""
    mask = np.zeros((height, width), np.uint8)
    cv2.circle(mask, (width // 3, height // 3), 27, 1, -1)
    mask[height - 41 :, width - 35 :] = 1
    return mask


def _remove(image: np.ndarray) -> Restored:
    """A fill of slopes over the mask, and the image beyond."""
    height, width = image.shape[:2]
    mask = _mask(height, width)
    rows, columns = np.mgrid[:height, :width]
    fill = np.dstack([120 + rows // 2, 230 - columns // 3, 90 + (rows + columns) // 4])
    result = np.where(mask[..., None] == 1, fill * (np.iinfo(image.dtype).max // 255), image).astype(image.dtype)
    return Restored(result, mask, 2, {"locate": 0.25, "restore": 0.5, "compose": 0.125})


def _stand_in(patch: pytest.MonkeyPatch, function: Callable[[np.ndarray], Restored]) -> None:
    """predict.py then takes `function` for a restorer, and loads no network."""
    body = {"weights": "a stand-in", "engine": "no engine", "__call__": staticmethod(function)}
    patch.setattr(restorer, "Restorer", lambda *_, **__: type("StandIn", (), body)())


def _seen(path: Path) -> np.ndarray:
    if path.suffix == ".tif" and "fax" not in path.name and "lzw" not in path.name and "grey" not in path.name:
        return tifffile.imread(path)
    if path.name.startswith(("16", "32")):
        return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    with Image.open(path) as image:
        return np.array(image)


def _kept(path: Path) -> dict[str, object]:
    if path.suffix == ".tif":
        with tifffile.TiffFile(path) as file:
            places = ("StripOffsets", "StripByteCounts", "TileOffsets", "TileByteCounts")
            tags = {tag.name: str(tag.value) for tag in file.pages[0].tags if tag.name not in places}
            return {"order": file.byteorder, "tags": sha(str(sorted(tags.items())).encode()), "names": sorted(tags)}
    with Image.open(path) as image:
        told = {key: value for key, value in sorted(image.info.items()) if isinstance(value, int | str | tuple)}
        told |= {key: sha(value) for key, value in sorted(image.info.items()) if isinstance(value, bytes)}
        layers = getattr(image, "layer", None)
        tables = getattr(image, "quantization", None)
        return {"mode": image.mode, "info": str(told), "layers": str(layers), "tables": sha(str(tables).encode())}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("files")
    (root / "photos").mkdir()
    for name, write in KINDS.items():
        write(root / "photos" / name, PHOTO)
    with pytest.MonkeyPatch.context() as patch:
        _stand_in(patch, _remove)
        assert predict.main([str(root / "photos"), str(root / "results")]) == 0
    return root


@pytest.mark.parametrize("name", KINDS)
def test_a_result_has_the_recorded_pixels_metadata_and_bytes(golden, results, name):
    source, path = results / "photos" / name, results / "results" / name
    seen = _seen(path)
    if name == ROUNDED:
        golden(f"files/parts/{name}", grid(seen, 12), absolute=0.1)
        # Blocks of 16 pixels that the mask touches are encoded anew.
        seen[cv2.dilate(_mask(*seen.shape[:2]), np.ones((33, 33), np.uint8)) > 0] = 0
    golden(f"files/pixels/{name}", sha(seen))
    golden(f"files/kept/{name}", _kept(path))
    told = "files written here differ from those of the recording: another version of a library, not the project"
    golden(f"files/source/{name}", {told: sha(source.read_bytes())})
    if name != ROUNDED:
        golden(f"files/bytes/{name}", sha(path.read_bytes()))


def test_a_run_tells_and_writes_what_it_did(golden, tmp_path, monkeypatch, capsys):
    """Masks, sheets, sub-folders, what is left out, what fails, what is copied; and a second run."""
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    for name in ("baseline.jpg", "lossy.webp", "sub/rgb.png"):
        KINDS[Path(name).name](photos / name, PHOTO)
    KINDS["24.bmp"](photos / "small.bmp", PHOTO[:90])
    (photos / "broken.jpg").write_bytes((photos / "baseline.jpg").read_bytes()[:3000])
    (photos / "notes.txt").write_text("no picture")
    clean = Restored(PHOTO[:90], np.zeros((90, PHOTO.shape[1]), np.uint8), 0, {})
    _stand_in(monkeypatch, lambda image: clean if len(image) == 90 else _remove(image))
    for run in ("first", "second"):
        code = predict.main([str(photos), str(tmp_path / "out"), "--save-mask", "--compare"])
        printed = capsys.readouterr()
        said = printed.out.replace(str(tmp_path), "HERE").replace(", no engine", "").splitlines()
        said = [re.sub(r"[0-9]+\.[0-9]+|[(][a-z/]+[.][a-z]+[)]", "N", line) for line in said]
        told = [line for line in printed.err.replace(str(tmp_path), "HERE").splitlines() if "failed:" in line]
        golden(f"files/run/{run}", {"code": code, "said": said, "failed": told})
    out = tmp_path / "out"
    # The record names the photos' times.
    files = sorted(path for path in out.rglob("*") if path.is_file() and path.name != RECORD)
    golden("files/run/written", {path.relative_to(out).as_posix(): sha(path.read_bytes()) for path in files})
