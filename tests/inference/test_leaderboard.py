"""The leaderboard: what each method is given, and what is counted."""

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from configs.schema import PredictConfig
from data.images import read_rgb
from data.synthesis.__main__ import SetOptions, make_set
from inference.leaderboard import drawn_scenes, list_scenes, main, markdown, summaries_of
from inference.methods import METHODS, Outcome, Photo, judge
from metrics import evaluate, ms_ssim
from metrics.fill import INK, count_ink, seam_step
from models.weights import save_weights
from tests.inference.stand_ins import StandIn, restorer_over, small_weights


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small drawn sets: pages under hands and heads, clean ones, and both."""
    root = tmp_path_factory.mktemp("sets")
    options = SetOptions(groups=3, seed=5, long_side=280, occlusions_per_page=1)
    make_set(options, root / "contest")
    make_set(replace(options, groups=2, occluded=0.0), root / "clean")
    make_set(SetOptions(groups=12, seed=6, long_side=96, occlusions_per_page=12, occluded=0.5), root / "half")
    return root


def _cover_dark(tile: np.ndarray) -> np.ndarray:
    covered = (tile.mean(1, keepdims=True) < 0.62).astype(np.float32)
    return np.concatenate([np.where(covered > 0, np.float32(0.8), tile), covered], 1)


def test_each_method_is_what_its_row_says(sets: Path) -> None:
    """With a network that takes everything dark for an occluder."""
    photo = next(iter(list_scenes(sets / "contest").values()))()
    restorer = restorer_over(StandIn(_cover_dark), PredictConfig())
    outcomes = {name: method.run(photo, restorer) for name, method in METHODS.items()}
    covered, images = photo.mask > 0, {name: outcome.image for name, outcome in outcomes.items()}
    # Told the true mask, it fills that and nothing farther than its rim.
    beyond = cv2.dilate(photo.mask, np.ones((41, 41), np.uint8)) == 0
    for name, place, expected in (
        ("input", ..., photo.picture), ("ceiling", covered, photo.truth), ("ceiling", ~covered, photo.picture),
        ("biharmonic-true", ~covered, photo.picture), ("auto-true", beyond, photo.picture),
    ):  # fmt: skip
        np.testing.assert_array_equal(images[name][place], expected[place], err_msg=name)
    for name, algorithm in (("telea-true", cv2.INPAINT_TELEA), ("ns-true", cv2.INPAINT_NS)):
        # Each part by itself, with some page around it, becomes what it would become in the whole.
        np.testing.assert_allclose(images[name], cv2.inpaint(photo.picture, photo.mask, 5, algorithm), atol=1)
    assert (images["auto-true"][covered] != photo.picture[covered]).any(-1).mean() > 0.8
    # The smoothest surface is nearer to paper than what it was made from; no colour of the occluder is in it.
    smooth, before = (judge(photo, outcomes[name])["psnr_inside"] for name in ("biharmonic-true", "input"))
    assert smooth > before + 3
    found = outcomes["auto"].found
    assert found.shape == covered.shape
    assert set(np.unique(found)) <= {0, 1}
    assert outcomes["auto-true"].found is outcomes["telea-true"].found is None


def test_a_limit_takes_both_of_what_a_set_alternates_between(sets: Path) -> None:
    few, more, *whole = (list_scenes(sets / "half", limit) for limit in (4, 6, 50, 0))
    assert {bool(read().mask.any()) for read in few.values()} == {True, False}
    assert set(few) < set(more)
    assert [len(scenes) for scenes in (few, *whole)] == [4, 12, 12]


def test_the_counts_are_those_of_a_picture_made_for_it() -> None:
    truth, mask = np.full((200, 400, 3), 200, np.uint8), np.zeros((200, 400), np.uint8)
    mask[100:, 100:200] = 1
    picture = np.where(mask[..., None] > 0, np.uint8(50), truth)
    image, found = picture.copy(), np.zeros_like(mask)
    found[100:, 150:250] = 1
    image[found > 0] = 201
    image[0, 0, 1] = 7
    measured = judge(Photo(picture, truth, mask, mask), Outcome(image, found, 1.5))
    expected = evaluate(image, truth, mask) | count_ink(image, truth, mask, mask)
    expected |= {"ms_ssim_inside": ms_ssim(image, truth, mask), "seam": seam_step(image, mask)}
    del expected["psnr_outside"]
    # The rim is 1 % of 400 pixels; the page from column 204 to 250 and the upper left corner are beyond it.
    assert measured == {**expected, "pixels": 80_000, "covered": 10_000, "found": 10_000, "hit": 5_000,
                        "changed": 10_001, "wrong": 100 * 46 + 1, "seconds": 1.5}  # fmt: skip
    # Under a mask that is everything nothing is wrong, and beside none everything that has changed.
    counted = [judge(Photo(picture, truth, np.full_like(mask, every)), Outcome(image))["wrong"] for every in (0, 1)]
    assert counted == [10_001, 0]
    perfect = judge(Photo(picture, truth, mask), Outcome(truth))
    assert [perfect[name] for name in ("score", "psnr", "found", "rules", "seam")] == [1, float("inf"), None, None, 0]


def _row(picture: str = "a", **changes: object) -> dict:
    return {
        "set": "contest", "method": "auto", "picture": picture, "psnr": 30.0, "ms_ssim": 0.9, "score": 0.6,
        "psnr_inside": 20.0, "ms_ssim_inside": 0.5, "seam": -0.5, "pixels": 1000, "covered": 100, "found": 80,
        "hit": 60, "changed": 90, "wrong": 0, "seconds": 2.0, **dict.fromkeys(INK), **changes,
    }  # fmt: skip


def test_a_summary_pools_masks_and_counts_pictures() -> None:
    clean = {"psnr": float("inf"), "score": 1.0, "psnr_inside": None, "covered": 0, "wrong": 10}
    nothing = {"method": "input", "found": None, "hit": None}
    summaries = summaries_of([
        _row(**nothing, score=0.61), _row("b", **nothing, **clean),
        _row(rules=30, rules_back=6, blank=10, false_ink=0),
        _row("b", rules=10, rules_back=10, blank=30, false_ink=1, **clean | {"found": 20, "hit": 0}),
    ])  # fmt: skip
    text = markdown(summaries, ["One more thing."])
    assert "### contest" in text
    cells = "2 | 65.00 | 0.9000 | 0.8000 | 20.00 | 0.5000 | 0.400 | 0.0250 | -0.50 | 91.00%"
    cells += " | 0.429 | 0.600 | 0.600 | 1 | 0.01 | 1 | 2.00"
    assert f"| what predict.py does | {cells} |" in text
    assert "| - | - | - | 1 | 0.01 | 0 | 2.00 |" in text
    assert "* One more thing." in text
    # Pictures that are too small have no score.
    assert summaries_of([_row(method="input", score=None)])[0]["worse"] is None


def test_the_command_writes_tables(sets: Path, tmp_path: Path, capsys) -> None:
    weights, out = tmp_path / "small.pdparams", tmp_path / "out"
    save_weights(weights, small_weights())
    arguments = [str(sets), str(out), "--weights", str(weights), "--limit", "2"]
    assert main([*arguments, "--sets", "clean,contest", "--methods", "auto,telea-true"]) == 0
    table = (out / "leaderboard.md").read_text("utf-8")
    assert table in capsys.readouterr().out
    assert str(tmp_path) not in table
    shown = [line.partition(" | 2 ")[0] for line in table.splitlines() if line.startswith("#") or " | 2 | " in line]
    methods = ["| input unchanged", "| Telea, true mask", "| what predict.py does"]
    assert shown == ["### clean", *methods, "### contest", *methods]
    rows = list(csv.DictReader((out / "pictures.csv").read_text("utf-8").splitlines()))
    assert [row["method"] for row in rows] == 4 * ["input", "telea-true", "auto"]
    assert all(float(row["covered"]) > 0 and 0.4 < float(row["score"]) < 1 and row["rules"] == "" for row in rows[6:])
    areas = read_rgb(out / "areas.png")
    assert areas.std() > 10
    assert (areas.max(2) == areas.min(2)).all()  # told apart without colour


def test_the_drawn_set_knows_the_rules_that_a_hand_hides() -> None:
    assert [len(drawn_scenes(limit)) for limit in (0, 3, 99)] == [24, 3, 24]
    first, *_, sixth = drawn_scenes(6).values()
    photo = sixth()
    for ours, same, different in zip(photo, sixth(), first(), strict=True):
        np.testing.assert_array_equal(ours, same)
        assert (ours != different).any()
    assert photo.picture.shape == (1600, 1200, 3)
    assert 0.005 < photo.mask.mean() < 0.06
    hidden, copied = (judge(photo, Outcome(image)) for image in (np.full_like(photo.truth, 255), photo.truth))
    assert hidden["rules"] == copied["rules"] == copied["rules_back"] > 50
    assert hidden["rules_back"] == hidden["false_ink"] == copied["false_ink"] == 0


@pytest.mark.parametrize(
    ("option", "name", "words"),
    [("--sets", "kontest", "has clean, contest, half, drawn"), ("--methods", "magic", "magic: the table has input")],
)
def test_what_does_not_exist_is_refused_at_once(sets, tmp_path, capsys, option, name, words) -> None:
    assert main([str(sets), str(tmp_path / "out"), option, name]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
