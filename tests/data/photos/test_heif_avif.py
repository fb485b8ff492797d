"""Phones' HEIC and the web's AVIF: read upright, written in kind with their metadata."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from data.photos import encode_photo, read_photo

pytest.importorskip("pillow_heif")


def photo_file(path, kind: str, orientation: int, mode: str = "RGB") -> np.ndarray:
    """Writes a picture that a viewer shows upright; returns it as it is shown."""
    shown = np.full((90, 140, 3), 200, np.uint8)
    shown[10:30, 20:60] = (30, 60, 200)
    shown[60:, 100:] = (180, 90, 60)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "A phone"
    turns = {1: 0, 6: 1, 3: 2, 8: 3}[orientation]
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(shown, turns))).convert(mode)
    if mode == "RGBA":
        stored.putpixel((0, 0), (200, 200, 200, 90))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    stored.save(path, kind, quality=95, exif=exif.tobytes(), icc_profile=profile, xmp=b"<x:xmpmeta/>")
    return shown


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize(("kind", "name"), [("HEIF", "a.heic"), ("AVIF", "a.avif")])
def test_a_photo_comes_back_in_kind_upright_and_with_its_metadata(tmp_path, kind, name, orientation, mode):
    shown = photo_file(tmp_path / name, kind, orientation, mode)
    photo = read_photo(tmp_path / name)
    assert photo.kind == kind
    assert np.abs(photo.pixels.astype(int) - shown).mean() < 4
    mask = np.zeros((90, 140), np.uint8)
    mask[60:, 100:] = 1
    result = photo.pixels.copy()
    result[mask > 0] = 200
    encoded = encode_photo(photo, result, mask)
    assert "encoded anew" in encoded.notes[0]
    again = Image.open(io.BytesIO(encoded.content))
    assert (again.format, again.mode) == (kind, mode)
    assert again.getexif()[0x010F] == "A phone"
    assert again.info["icc_profile"] == Image.open(tmp_path / name).info["icc_profile"]
    (tmp_path / f"b{name}").write_bytes(encoded.content)
    seen = read_photo(tmp_path / f"b{name}").pixels
    assert seen.shape == shown.shape
    assert np.abs(seen[64:, 104:].astype(int) - 200).max() < 12
    assert np.abs(seen[:50].astype(int) - shown[:50]).mean() < 4
