"""Validation: which pages, and that its numbers are those of the predictor's own results."""

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile

from data.contest import PatchPaths, validation_pages, write_list
from data.images import BadImageError, read_rgb
from data.masks import read_mask
from inference.restorer import Restorer
from metrics import MEASURES, evaluate
from models.weights import Weights, load_weights
from tests.models.networks import plain_weights
from train import validate
from utils.training.processes import Processes


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> list[PatchPaths]:
    folder, rng = tmp_path_factory.mktemp("pages"), np.random.default_rng(2)
    entries = [PatchPaths(*(folder / f"{number}_{kind}.png" for kind in PatchPaths._fields)) for number in range(3)]
    for number, trio in enumerate(entries):
        clean, mask = rng.integers(0, 256, (170, 190, 3), np.uint8), np.zeros((170, 190), np.uint8)
        mask[100:, :60] = 255 if number else 0
        pictures = {"clean": clean, "occluded": np.where(mask[..., None], np.uint8(90), clean), "mask": mask}
        for kind, path in trio._asdict().items():
            cv2.imwrite(str(path), pictures[kind])
    return entries


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Weights:
    return load_weights(plain_weights(tmp_path_factory.mktemp("weights") / "w.pdparams"))


def test_measures_are_the_means_over_the_predictors_results(pages, weights):
    result = validate(weights, pages, "cpu", Processes())
    restorer = Restorer(weights, "cpu", backend="paddle")
    each = [evaluate(restorer(read_rgb(page.occluded)).image, read_rgb(page.clean), read_mask(page.mask))
            for page in pages]
    for name in MEASURES:
        values = [measures[name] for measures in each if measures[name] is not None]
        assert result[name] == pytest.approx(np.mean(values), rel=1e-12)
    # The page without an occluder has no inside: the mean is over the two that have one.
    assert each[0]["psnr_inside"] is None


def test_a_perfect_page_counts_as_100_db_and_an_interruption_gives_no_numbers(pages, weights):
    arrays, asked = {name: np.zeros_like(array) for name, array in weights.params.items()}, []
    result = validate(Weights(arrays), pages[:1], "cpu", Processes())
    assert (result["psnr"], result["psnr_outside"], result["psnr_inside"]) == (100, 100, None)
    assert result["score"] == pytest.approx(1)
    assert validate(weights, pages, "cpu", Processes(), lambda: bool(asked.append(1) or len(asked) > 1)) is None
    assert len(asked) == 2


def test_a_choice_of_pages_is_spread_over_the_list(pages, tmp_path):
    write_list(tmp_path / "pages.txt", [pages[number // 4] for number in range(12)])
    for limit, expected in ((3, "012"), (2, "01"), (0, "000011112222"), (99, "000011112222")):
        assert "".join(page.clean.name[0] for page in validation_pages(tmp_path / "pages.txt", limit)) == expected


@pytest.mark.parametrize("part", ["clean", "occluded", "mask"])
def test_missing_files_and_unequal_sizes_are_refused_without_decoding(pages, tmp_path, monkeypatch, part):
    """The size is that of the picture as it is shown."""
    other, listed, exif = tmp_path / "other.jpg", tmp_path / "val_pages.txt", Image.Exif()
    write_list(listed, [*pages, pages[0]._replace(**{part: other})])
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(BadImageError, match=r"other\.jpg: cannot be opened \(No such file"):
        validation_pages(listed)
    Image.new("L", (170, 190)).save(other)
    with pytest.raises(BadImageError, match=r"other\.jpg.* 1(70x190|90x170)"):
        validation_pages(listed)
    exif[ExifTags.Base.Orientation] = 6
    Image.new("L", (170, 190)).save(other, exif=exif)
    assert len(validation_pages(listed)) == 4
