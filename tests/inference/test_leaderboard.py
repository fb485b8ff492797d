"""The leaderboard: what each method is given, what is counted, and a run that goes on where it was stopped."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from configs.schema import PredictConfig
from data.images import read_rgb
from data.synthesis.sets import SetOptions, make_set
from inference import Restorer
from inference.leaderboard.__main__ import main
from inference.leaderboard.board import Board, Records, Row
from inference.leaderboard.methods import METHODS, Tools, inpaint
from inference.leaderboard.scenes import RIM, Scene, judge, list_scenes, outside_rim
from inference.leaderboard.table import csv_text, markdown, summaries_of, summarise
from metrics.score import evaluate
from models.weights import save_weights
from tests.inference.small import small_weights
from tests.inference.stand_ins import StandIn

QUICK = "input,telea-true,ceiling"


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small drawn sets: pages under hands and heads, and clean ones."""
    root = tmp_path_factory.mktemp("sets")
    options = SetOptions(groups=3, seed=5, long_side=280, occlusions_per_page=1)
    make_set(options, root / "contest")
    make_set(replace(options, groups=2, occluded=0.0), root / "clean")
    return root


@pytest.fixture
def scene(sets: Path) -> Scene:
    return list_scenes(sets / "contest")[0]


class PaintedTools(Tools):
    """Tools with a network that takes everything dark for an occluder."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, path)
        self.opened: list[tuple[str, dict]] = []

    def restorer(self, kind: str, **options: object) -> Restorer:
        self.opened.append((kind, options))
        gated = kind == "gated"
        backend = StandIn(_cover_dark if gated else _lighten, gated)
        return Restorer.from_backend(backend, PredictConfig(), mode=options.get("mode", "auto"))


def _cover_dark(tile: np.ndarray) -> np.ndarray:
    covered = (tile.mean(1, keepdims=True) < 0.62).astype(np.float32)
    return np.concatenate([np.where(covered > 0, np.float32(0.8), tile), covered], 1)


def _lighten(tile: np.ndarray) -> np.ndarray:
    return tile + np.float32(0.1)


@pytest.fixture
def tools(tmp_path: Path) -> PaintedTools:
    (tmp_path / "weights").write_bytes(b"some weights")
    return PaintedTools(tmp_path / "weights")


def test_each_method_is_what_its_row_says(scene: Scene, tools: PaintedTools) -> None:
    outcomes = {name: method.run(tools, scene) for name, method in METHODS.items()}
    covered = scene.mask > 0
    np.testing.assert_array_equal(outcomes["input"].image, scene.picture)
    ceiling = outcomes["ceiling"].image
    np.testing.assert_array_equal(ceiling[covered], scene.truth[covered])
    np.testing.assert_array_equal(ceiling[~covered], scene.picture[~covered])
    for name in ("telea-true", "ns-true"):
        image = outcomes[name].image
        far = cv2.dilate(scene.mask, np.ones((11, 11), np.uint8)) == 0
        np.testing.assert_array_equal(image[far], scene.picture[far])
        assert np.mean(image[covered] != scene.picture[covered]) > 0.9
        assert outcomes[name].found is None
    assert not np.array_equal(outcomes["telea-true"].image, outcomes["ns-true"].image)
    found = outcomes["auto"].found
    assert found.shape == covered.shape
    assert set(np.unique(found)) <= {0, 1}
    for name in ("telea-found", "ns-found"):
        np.testing.assert_array_equal(outcomes[name].found, found)
        # Inpainted is all that may have changed, and nothing more.
        changed = (outcomes[name].image != scene.picture).any(2)
        assert not changed[tools.restored(scene).mask == 0].any()
        assert changed[found > 0].mean() > 0.9
    # A network without a gate that does not look for anything says nothing about it.
    assert outcomes["plain"].found is None
    assert outcomes["plain-pasted"].found is not None
    assert all(outcome.seconds >= 0 for outcome in outcomes.values())
    asked = [options for kind, options in tools.opened if kind == "gated"]
    assert {"backend": "paddle", "precision": "fp32"} in asked
    assert {"tlc_ratio": 0.0, "mode": "tiles"} in asked
    assert {"tta": True} in asked
    assert {"predict": (("fill", "network"),)} in asked
    assert {"predict": (("overview_long_side", 0),)} in asked
    assert ("plain", {"mode": "tiles", "rows": 2, "columns": 2, "overlap": 0}) in tools.opened


def test_settings_of_the_weights_are_replaced_for_one_row_only(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.pdparams", replace(small_weights(), predict={"fill": "page", "long_side": 640}))
    tools = Tools(tmp_path / "w.pdparams")
    options = {"backend": "paddle", "device": "cpu"}
    own = tools.restorer("gated", predict=(("fill", "network"),), **options)
    as_shipped = tools.restorer("gated", **options)
    assert (own.settings.fill, own.settings.long_side) == ("network", 640)
    assert (as_shipped.settings.fill, as_shipped.settings.long_side) == ("page", 640)
    assert tools.restorer("gated", predict=(("fill", "network"),), **options) is own


def test_a_limit_takes_both_of_what_a_set_alternates_between(tmp_path: Path) -> None:
    make_set(SetOptions(groups=12, seed=6, long_side=96, occlusions_per_page=12, occluded=0.5), tmp_path / "half")
    few, more = (list_scenes(tmp_path / "half", limit) for limit in (4, 6))
    assert len(few) == 4
    assert {bool(scene.mask.any()) for scene in few} == {True, False}
    assert {scene.name for scene in few} < {scene.name for scene in more}
    assert len(list_scenes(tmp_path / "half", 50)) == len(list_scenes(tmp_path / "half")) == 12


def test_inpainting_a_part_is_inpainting_the_whole(scene: Scene) -> None:
    for algorithm in (cv2.INPAINT_TELEA, cv2.INPAINT_NS):
        whole = cv2.inpaint(scene.picture, scene.mask, 5, algorithm)
        np.testing.assert_allclose(inpaint(scene.picture, scene.mask, algorithm), whole, atol=1)
    nothing = np.zeros_like(scene.mask)
    np.testing.assert_array_equal(inpaint(scene.picture, nothing, cv2.INPAINT_TELEA), scene.picture)


def _scene(picture: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> Scene:
    scene = Scene("s", "a.jpg", None)
    for name, value in (("picture", picture), ("truth", truth), ("mask", mask)):
        object.__setattr__(scene, name, value)
    return scene


def test_the_counts_are_those_of_a_picture_made_for_it() -> None:
    truth = np.full((200, 400, 3), 200, np.uint8)
    mask = np.zeros((200, 400), np.uint8)
    mask[100:, 100:200] = 1
    picture = truth.copy()
    picture[mask > 0] = 50
    image, found = picture.copy(), np.zeros_like(mask)
    found[100:, 150:250] = 1
    image[found > 0] = 201
    image[0, 0, 1] = 7
    row = SimpleNamespace(**judge(_scene(picture, truth, mask), image, found))
    assert (row.pixels, row.covered, row.found, row.hit) == (80_000, 10_000, 10_000, 5_000)
    assert row.changed == 10_001
    # The rim is 1 % of 400 pixels; the page from column 204 to 250 and the upper left corner are beyond it.
    assert RIM * 400 == 4
    rows_near = sum(1 for _ in range(200, 204))
    assert row.wrong == 100 * (50 - rows_near) + 1
    expected = evaluate(image, truth, mask)
    assert (row.psnr, row.score, row.psnr_inside) == (expected["psnr"], expected["score"], expected["psnr_inside"])
    assert not outside_rim(np.ones((50, 50), np.uint8)).any()
    assert outside_rim(np.zeros((50, 50), np.uint8)).all()

    perfect = SimpleNamespace(**judge(_scene(picture, truth, mask), truth, None))
    assert (perfect.score, perfect.ms_ssim, perfect.psnr) == (1.0, 1.0, float("inf"))
    assert perfect.found is None
    assert perfect.wrong == 0


def _row(**changes: object) -> Row:
    row = Row("contest", "auto", "a", "d", 30.0, 0.9, 0.6, 20.0, 1000, 100, 80, 60, 90, 0, 2.0)
    return replace(row, **changes)


def test_a_summary_pools_masks_and_counts_pictures() -> None:
    rows = [
        _row(),
        _row(picture="b", psnr=float("inf"), score=1.0, psnr_inside=None, covered=0, found=20, hit=0, wrong=10),
    ]
    inputs = {"a": _row(method="input", score=0.61), "b": _row(method="input", picture="b", score=1.0)}
    summary = summarise(rows, inputs)
    assert (summary.count, summary.psnr, summary.score, summary.psnr_inside) == (2, 65.0, 0.8, 20.0)
    assert summary.untouched == pytest.approx(1 - 180 / 2000)
    assert (summary.recall, summary.precision, summary.iou) == (0.6, 0.6, pytest.approx(60 / 140))
    assert (summary.wrong, summary.wrong_share, summary.worse) == (1, 0.01, 1)
    assert summary.seconds == 2.0
    silent = summarise([_row(found=None, hit=None)], {})
    assert (silent.iou, silent.precision, silent.recall, silent.worse) == (None, None, None, None)
    text = markdown([summary, silent], ["One more thing."])
    assert "### contest" in text
    assert (
        "| gated, auto | 2 | 65.00 | 0.9000 | 0.8000 | 20.00 | 91.00 | 0.429 | 0.600 | 0.600 | 1 (1 %) | 1 | 2.00 |"
        in text
    )
    assert "* One more thing." in text
    assert next(csv.DictReader(csv_text([summary]).splitlines()))["wrong_share"] == "0.01"


def test_records_outlive_a_torn_line_and_refuse_other_files(tmp_path: Path) -> None:
    path = tmp_path / "pictures.csv"
    records = Records(path)
    rows = [_row(), _row(picture="b, with a comma", psnr=float("inf"), ms_ssim=None, found=None), _row(psnr=31.5)]
    for row in rows:
        records.add(row)
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"set": "contest", "method": "auto", "picture": "c", "dig')
    again = Records(path)
    assert again.get("contest", "auto", "a", "d") == rows[2]
    assert again.get("contest", "auto", "b, with a comma", "d") == rows[1]
    assert again.get("contest", "auto", "c", "d") is None
    assert again.get("contest", "auto", "a", "other weights") is None
    # Replaced and torn lines are gone.
    assert len(path.read_text("utf-8").splitlines()) == 2
    path.write_text('{"name": 1}\n')
    with pytest.raises(ValueError, match="not a leaderboard's record"):
        Records(path)


def test_a_run_goes_on_and_measures_what_is_new(sets: Path, tools: PaintedTools, tmp_path: Path) -> None:
    def board(methods: list[str], limit: int = 0) -> tuple[Board, list[str]]:
        board = Board([sets / "contest", sets / "clean"], methods, tools, Records(tmp_path / "r.jsonl"), limit, 2)
        told: list[str] = []
        board.run(told.append)
        return board, told

    first, told = board(["auto"], limit=1)
    assert len(told) == 2
    assert [(one.set, one.method, one.count) for one in summaries_of(first)] == [
        ("contest", "input", 1), ("contest", "auto", 1), ("clean", "input", 1), ("clean", "auto", 1),
    ]  # fmt: skip
    second, told = board(["auto"])
    assert len(told) == 3
    assert [one.count for one in summaries_of(second)] == [3, 3, 2, 2]
    assert board(["auto"])[1] == []
    # Another method on the same pictures; then other weights, on which the inputs do not depend.
    _, told = board(["auto", "ceiling"])
    assert len(told) == 5
    assert all("ceiling" in line and "auto" not in line for line in told)
    tools.files["gated"].write_bytes(b"other weights")
    tools._digests.clear()
    _, told = board(["auto", "ceiling"])
    assert len(told) == 5
    assert all("auto" in line and "input" not in line for line in told)
    clean = [summary for summary in summaries_of(second) if summary.set == "clean"]
    assert clean[0].score == 1.0
    assert clean[0].wrong == 0
    assert clean[0].psnr_inside is None


def test_the_command_writes_tables_and_a_sheet(
    sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "small.pdparams"
    save_weights(weights, small_weights())
    arguments = [str(sets), str(tmp_path / "out"), "--weights", str(weights), "--threads", "1"]
    sheet = tmp_path / "worst.png"
    command = [*arguments, "--sets", "contest", "--methods", QUICK, "--limit", "2"]
    assert main([*command, "--worst", "1", str(sheet), "--of", "telea-true"]) == 0
    printed = capsys.readouterr().out
    table = (tmp_path / "out" / "leaderboard.md").read_text("utf-8")
    assert table in printed
    assert "| Telea, true mask | 2 |" in table
    assert "gated, auto" not in table
    assert str(tmp_path) not in table
    rows = [json.loads(line) for line in (tmp_path / "out" / "pictures.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == 6
    worst = min((row for row in rows if row["method"] == "telea-true"), key=lambda row: row["score"])
    truth = json.loads((sets / "contest" / "manifest.json").read_text("utf-8"))["groups"]
    assert worst["picture"] in {group["occluded"] for group in truth}
    shown = read_rgb(sheet)
    assert shown.shape[1] > 4 * 190
    assert main([*arguments, "--sets", "clean", "--methods", "auto", "--limit", "1"]) == 0
    assert "### clean" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [
        ["--sets", "kontest"],
        ["--methods", "magic"],
        ["--methods", "plain"],
        ["--worst", "none", "sheet.jpg"],
        ["--of", "magic"],
    ],
)
def test_what_does_not_exist_is_refused_at_once(sets: Path, tmp_path: Path, wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([str(sets), str(tmp_path / "out"), *wrong])
    assert stopped.value.code == 2
    assert not (tmp_path / "out").exists()
