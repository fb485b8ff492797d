"""Small JPEG files of many kinds, with texture, for tests."""

import io
import re
from collections.abc import Callable
from itertools import takewhile

import cv2
import numpy as np
from PIL import Image

from data import jpeg_segments
from tests.data.photos.files import saved

Segments = list[tuple[int, bytes]]
SIZE = (75, 117)
APP0, APP1, APP2, APP14, COM = 0xE0, 0xE1, 0xE2, 0xEE, 0xFE
SOF0, DHT, DQT, DRI, SOS = 0xC0, 0xC4, 0xDB, 0xDD, 0xDA


def textured(height: int = SIZE[0], width: int = SIZE[1], seed: int = 1) -> np.ndarray:
    """RGB uint8 with colours that vary slowly and ink that does not; nowhere 0 or 255."""
    rng = np.random.default_rng(seed)
    tint = cv2.resize(rng.integers(90, 230, (4, 5, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    ink = 70 * (rng.random((height, width, 1)) < 0.1)
    return np.clip(tint.astype(np.int16) - ink + rng.normal(0, 5, (height, width, 1)), 5, 250).astype(np.uint8)


def save(picture: np.ndarray | Image.Image, **options: object) -> bytes:
    return saved("JPEG", picture, **{"quality": 85, **options})


def opencv(sampling: int) -> bytes:
    options = (cv2.IMWRITE_JPEG_QUALITY, 88, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling)
    return cv2.imencode(".jpg", textured(), options)[1].tobytes()


def split(content: bytes) -> tuple[Segments, bytes]:
    """Marker and payload of each segment before the first scan, and the scan to the end of the file."""
    segments, _ = jpeg_segments.split(content)
    front = [*takewhile(lambda segment: segment.marker != SOS, segments)]
    return [segment[:2] for segment in front], jpeg_segments.join(segments[len(front) :])[2:]


def join(segments: Segments, rest: bytes) -> bytes:
    return jpeg_segments.join(jpeg_segments.Segment(*segment) for segment in segments)[:-2] + rest


def edited(content: bytes, edit: Callable[[int, bytes], bytes | None]) -> bytes:
    """`content` with each segment's payload replaced by what `edit` returns, or left out for None."""
    segments, rest = split(content)
    changed = [(marker, edit(marker, payload)) for marker, payload in segments]
    return join([(marker, payload) for marker, payload in changed if payload is not None], rest)


def without(content: bytes, *markers: int) -> bytes:
    return edited(content, lambda marker, data: None if marker in markers else data)


def decode(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.array(image.convert("RGB"))


def with_patch(source: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The decoded picture with a smooth patch that is off the grid of blocks, and where that is."""
    with Image.open(io.BytesIO(source)) as image:
        grey = image.mode == "L"
        rgb = np.array(image.convert("RGB"))
    height, width = rgb.shape[:2]
    changed = np.zeros((height, width), np.uint8)
    changed[height // 8 : height // 2 + height // 3 + 1, width // 6 : width // 2 + width // 4 + 1] = 1
    tint = np.array([0, 0, 0] if grey else [0, -10, -30])
    ramp = np.linspace(140, 200, height * width).reshape(height, width, 1) + tint
    return np.where(changed[..., None] > 0, ramp, rgb).astype(np.uint8), changed


def with_frame(content: bytes, change: Callable[[bytes], bytes]) -> bytes:
    return edited(content, lambda marker, data: change(data) if marker == SOF0 else data)


def grey() -> Image.Image:
    return Image.fromarray(textured()).convert("L")


def cmyk() -> Image.Image:
    inks = np.concatenate([255 - textured(), textured(seed=2)[..., :1] // 4], axis=2)
    return Image.frombytes("CMYK", SIZE[::-1], inks.tobytes())


def ycck() -> bytes:
    return edited(save(cmyk()), lambda marker, data: data[:11] + b"\2" if marker == APP14 else data)


def three_scans(horizontal: int = 1, vertical: int = 1) -> bytes:
    """A file whose components, of equal size and with sampling factors as given, lie in a scan each."""
    planes = [save(np.ascontiguousarray(textured()[..., channel])) for channel in range(3)]
    segments = split(planes[0])[0]
    shape = next(data for marker, data in segments if marker == SOF0)
    factors = 16 * horizontal + vertical
    frame = shape[:5] + bytes((3, 1, factors, 0, 2, factors, 0, 3, factors, 0))
    segments = [(marker, frame if marker == SOF0 else data) for marker, data in segments]
    scans = [split(plane)[1][:-2] for plane in planes]
    renamed = [scan[:5] + bytes((id,)) + scan[6:] for id, scan in enumerate(scans, 1)]
    return join(segments, b"".join(renamed) + b"\xff\xd9")


def wide_tables() -> bytes:
    """16-bit quantisation tables with values above 255, in an extended sequential frame."""

    def widen(marker: int, data: bytes) -> bytes:
        if marker != DQT:
            return data
        tables = (data[at : at + 65] for at in range(0, len(data), 65))
        return b"".join(bytes((0x10 | t[0],)) + b"".join((3 * v).to_bytes(2, "big") for v in t[1:]) for t in tables)

    return edited(save(textured(), quality=30), widen).replace(b"\xff\xc0\0\x11", b"\xff\xc1\0\x11")


def odd_ids() -> bytes:
    def rename(data: bytes) -> bytes:
        return data[:6] + bytes((34, *data[7:9], 7, *data[10:12], 200, *data[13:]))

    segments, rest = split(with_frame(save(textured()), rename))
    return join(segments, rest[:5] + bytes((34, rest[6], 7, rest[8], 200)) + rest[10:])


def with_metadata() -> bytes:
    """JFIF, EXIF, XMP, ICC in 61 segments, an unknown APP11, and two comments, in odd order."""
    segments, rest = split(save(textured(), subsampling=2, quality=92))
    jfif = next(data for marker, data in segments if marker == APP0)
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "maker", 6
    front = [
        (COM, b"first comment"),
        (APP0, jfif),
        (APP1, exif.tobytes()),
        (APP2, b"ICC_PROFILE\0\1\x3d" + bytes(65000)),
        *((APP2, b"ICC_PROFILE\0" + bytes((at, 61)) + b"\xff\xd9\xff\xda") for at in range(2, 62)),
        (APP1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>"),
        (0xEB, b""),
    ]
    return join([*front, *(s for s in segments if s[0] != APP0), (COM, b"")], rest)


def three_tables() -> bytes:
    """Y, Cb and Cr with a table each, all of them coarser for one direction than for the other."""
    tables = [[low + step * (at % 8) for at in range(64)] for low, step in ((2, 5), (9, 2), (4, 3))]
    return with_frame(save(textured(), qtables=tables, quality=50), lambda data: data[:14] + b"\2")


def rgb_by_ids() -> bytes:
    """Without Adobe's segment, the component ids R, G and B say what they are."""
    return without(save(textured(), keep_rgb=True, subsampling=0), APP0, APP14)


KINDS: dict[str, Callable[[], bytes]] = {
    "444": lambda: save(textured(), subsampling=0),
    "422": lambda: save(textured(), subsampling=1),
    "420": lambda: save(textured(), subsampling=2),
    "440": lambda: opencv(cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440),
    "411": lambda: opencv(cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411),
    "whole units": lambda: save(textured(96, 144), subsampling=2),
    "one pixel": lambda: save(textured(1, 1), subsampling=2),
    "one row": lambda: save(textured(1, 70), subsampling=2),
    "optimised": lambda: save(textured(), optimize=True),
    "progressive": lambda: save(textured(), progressive=True, subsampling=2),
    "progressive grey": lambda: save(grey(), progressive=True),
    "progressive restarts": lambda: save(textured(), progressive=True, restart_marker_blocks=3),
    "progressive CMYK": lambda: save(cmyk(), progressive=True),
    "restarts": lambda: save(textured(), restart_marker_blocks=3),
    "restart rows": lambda: save(textured(), restart_marker_rows=1, subsampling=0),
    "grey": lambda: save(grey()),
    "grey 2x2": lambda: with_frame(save(grey()), lambda data: data[:7] + b"\x22" + data[8:]),
    "CMYK": lambda: save(cmyk()),
    "YCCK": ycck,
    "RGB": lambda: save(textured(), keep_rgb=True, subsampling=0),
    "RGB by ids": rgb_by_ids,
    "three scans": three_scans,
    "three scans 2x2": lambda: three_scans(2, 2),
    "three tables": three_tables,
    "16-bit tables": wide_tables,
    "coarse": lambda: save(textured(), quality=5),
    "finest": lambda: save(textured(), quality=100, subsampling=0),
    "odd ids": odd_ids,
    "no JFIF": lambda: without(save(textured()), APP0),
    "fill bytes": lambda: re.sub(rb"\xff(?=[\xc0-\xc4\xda\xdb\xe0]\0)", b"\xff" * 4, save(textured())),
    "metadata": with_metadata,
}
