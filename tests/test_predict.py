"""predict.py as a user runs it: a process of its own, from anywhere, with the shipped weights."""

import contextlib
import os
import re
from pathlib import Path
from unittest.mock import Mock

import pytest

import predict
from configs.schema import PredictConfig
from inference.folder import Outcome, ResultsError
from tests.conftest import ROOT, python
from tests.golden.pictures import save
from tests.inference.stand_ins import StandIn, page, paint_red_over, restorer_over


def test_it_restores_a_folder_from_anywhere_and_tells_counts_windows_and_seconds(tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    save(tmp_path / "in" / "one.png", page(60, 80, None))
    save(tmp_path / "in" / "sub" / "two.jpg", page(50, 40, None))
    (tmp_path / "in" / "bad.jpg").write_bytes(b"bad")
    (tmp_path / "in" / "notes.txt").write_text("words")
    options = ("--weights", str(ROOT / "test_code" / "gated.pdparams"), "--device", "cpu")
    assert predict.main([str(tmp_path / "in"), str(tmp_path / "out"), "--save-mask", *options]) == 1
    told = capsys.readouterr()
    assert "failed: bad.jpg" in told.err
    assert not any(words in told.err for words in ("one.png", "BadImageError"))
    assert told.out.startswith(f"Restoring 3 pictures of {tmp_path}/in into {tmp_path}/out, with gated.pdparams, ")
    assert "TLC" not in told.out
    summary = "3 pictures: 0 restored, 2 untouched, 0 skipped, 1 failed"
    assert all(words in told.out for words in ("notes.txt", "pictures per second; from file to file", summary))
    for name in ("one.png", "one.png.mask.png", "sub/two.jpg", "sub/two.jpg.mask.png"):
        assert (tmp_path / "out" / name).is_file()
    # A verbose run tells of every picture, and why one failed, whatever the terminal can show.
    odd = os.fsdecode(b"latin-\xff\n.png")
    save(tmp_path / "in" / odd, page(20, 30, None))
    again = python(predict.__file__, "../in", "../out", "--verbose", *options, code=1, cwd=tmp_path / "elsewhere",
                   env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": ""})  # fmt: skip
    assert again.stdout.count("TLC windows") == 1
    for words in ("384x384", "1 untouched, 2 skipped, 1 failed", "--overwrite redoes them"):
        assert words in again.stdout
    for words in ("skipped: one.png", "untouched: latin-\\udcff\\n.png: no occluder found, copied", "Traceback"):
        assert words in again.stderr
    assert (tmp_path / "out" / odd).read_bytes() == (tmp_path / "in" / odd).read_bytes()


@pytest.mark.parametrize(("arguments", "words"), [
    ("nowhere out", "nowhere"),
    ("empty out", "no pictures"),
    ("in out --weights none.pdparams", "none.pdparams"),
    ("in out --ray auto --report", "--ray goes without"),
    ("in out --mask-mode add", "name their folder with --mask"),
    ("in out --tiles 2x2", "for mode tiles, and the mode is auto"),
    ("in taken", "taken: is a file, expected a folder"),
    ("in /proc/results", "/proc/results: cannot be written to"),
])  # fmt: skip
def test_what_cannot_work_is_said_before_anything_runs(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    save(tmp_path / "in" / "one.png", page(8, 8, None))
    (tmp_path / "taken").write_text("words")
    with contextlib.suppress(SystemExit):
        assert predict.main([*arguments.split(), "--device", "cpu"]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "taken").read_text() == "words"


@pytest.mark.parametrize(("option", "texts", "expected"), [
    ("--tiles", "4 2x 2x0 -4 2x2x2 9999x9999", "ROWSxCOLUMNS"),
    ("--scale", "0 1.5 half nan", "number from 0.01 to 1"),
    ("--tlc-ratio", "-1 inf", "number from 0 to 100"),
    ("--overlap", "-1 1.5", "whole number from 0"),
    ("--threads", f"0 {'9' * 400}", "whole number from 1"),
    ("--shard", "0/2 3/2 a/b", "I/N such as 2/5"),
])  # fmt: skip
def test_other_values_are_refused_with_what_would_do(capsys, option, texts, expected):
    for text in texts.split():
        with pytest.raises(SystemExit, match="2"):
            predict.main(["in", "out", "--mode=tiles", f"{option}={text}"])
        assert re.search(f"{option}.*{expected}", " ".join(capsys.readouterr().err.split()))


@pytest.fixture
def stand_in(monkeypatch, tmp_path) -> dict[str, object]:
    """What the restorer and `restore_folder` are given, which do nothing but raise "error"; and a picture."""
    given = {}

    def build(**options):
        given.update(options)
        return Mock(weights="a stand-in", engine="no engine")

    def restore_folder(restorer, listing, results, **orders):
        given.update(orders, pictures=[str(name) for name in listing.pictures])
        yield from (Outcome(name, "restored", {"decode": 0.5}) for name in listing.pictures)
        if "error" in given:
            raise given["error"]

    monkeypatch.setattr("inference.restorer.Restorer", build)
    monkeypatch.setattr("inference.folder.restore_folder", restore_folder)
    save(tmp_path / "one.png", page(20, 30, None))
    return given


GIVEN = {
    "weights": "w", "device": "gpu:1", "mode": "tiles", "scale": 0.5, "backend": "onnxruntime", "precision": "bf16",
    "overlap": 8, "tlc_ratio": 2.5, "threads": 3, "tta": True, "overwrite": True, "save_mask": True, "compare": True,
}  # fmt: skip
AUTO, OFF = ("device", "mode", "scale", "backend", "precision"), ("tta", "overwrite", "save_mask", "compare")


def test_every_option_arrives_and_without_any_weights_decide(stand_in, tmp_path):
    words = ["--tiles=2x3", *(f"--{name}".replace("_", "-") + f"={value}" * (value is not True)
                              for name, value in GIVEN.items())]  # fmt: skip
    nothing = dict.fromkeys((*GIVEN, "rows", "columns")) | dict.fromkeys(AUTO, "auto") | dict.fromkeys(OFF, False)
    for options, expected in ((words, GIVEN | {"rows": 2, "columns": 3}), ([], nothing)):
        assert predict.main([str(tmp_path), str(tmp_path / "out"), *options]) == 0
        assert stand_in == expected | {"pictures": ["one.png"]}


@pytest.mark.parametrize("number", [0, 5, 8])
def test_a_folder_full_of_other_files_does_not_flood_the_screen(capsys, number):
    paths = [Path(f"n{index}.txt") for index in range(number)]
    for all_of_them in (False, True):
        predict.tell_left_out("not a picture", paths, all_of_them)
    lines = [f"left out, not a picture: {path}" for path in paths]
    more = ["left out, not a picture: 3 more (--verbose names them)"] * (number == 8)
    assert capsys.readouterr().out.splitlines() == [*lines[:5], *more, *lines]


def test_one_photo_becomes_one_file_of_its_kind_and_nothing_else_is_touched(tmp_path, capsys, monkeypatch):
    restorer = restorer_over(StandIn(paint_red_over), PredictConfig())
    monkeypatch.setattr("inference.restorer.Restorer", lambda **_: restorer)
    photo, target = tmp_path / "one.jpg", tmp_path / "new" / "out.jpeg"
    save(photo, page(60, 80, None))
    before = photo.read_bytes()
    assert predict.main([str(photo), str(target), "--device", "cpu"]) == 0
    assert target.read_bytes() == before  # nothing covers it
    assert [path.name for path in target.parent.iterdir()] == ["out.jpeg"]
    capsys.readouterr()
    for name, more, words in [
        (target, [], "is there already"), (photo, ["--overwrite"], "is the photo itself"),
        (tmp_path / "out.png", [], "kind, JPEG by its content; name it *.jpg"),
        (tmp_path / "out.pdf", [], "kind, JPEG by"), (tmp_path / "out2.jpg", ["--save-mask"], "name a folder"),
    ]:  # fmt: skip
        assert predict.main([str(photo), str(name), "--device", "cpu", *more]) == 2
        assert words in capsys.readouterr().err
    assert photo.read_bytes() == before
    photo.rename(tmp_path / "one.png")
    assert predict.main([str(tmp_path / "one.png"), str(tmp_path / "out.jpg"), "--device", "cpu"]) == 0
    assert (tmp_path / "out.jpg").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "one.png", "out.jpg"]


def test_the_parts_of_a_run_together_are_the_run(tmp_path, stand_in):
    for index in range(9):
        (tmp_path / f"{index}.png").write_bytes((tmp_path / "one.png").read_bytes())
    parts = []
    for part in ("1/3", "2/3", "3/3"):
        assert predict.main([str(tmp_path), str(tmp_path / "out"), "--shard", part]) == 0
        parts.append(stand_in["pictures"])
    assert sorted(name for part in parts for name in part) == [*(f"{index}.png" for index in range(9)), "one.png"]
    assert max(map(len, parts)) < 9


@pytest.mark.parametrize(("error", "code", "words"), [
    (KeyboardInterrupt(), 130, "stopped; run it again"), (ResultsError("out: full"), 2, "out: full; make room")])
def test_ctrl_c_and_a_full_disk_end_with_summary_and_way_to_go_on(tmp_path, stand_in, capsys, error, code, words):
    stand_in["error"] = error
    assert predict.main([str(tmp_path), str(tmp_path / "out")]) == code
    told = capsys.readouterr()
    assert "1 restored" in told.out
    assert words in told.err


def test_the_summary_counts_and_tells_rate_seconds_the_slowest_and_what_was_lost_and_nothing_else():
    restored = Outcome(Path("a\nb.jpg"), "restored", {"decode": 0.5, "encode": 0.5}, notes=("it lost its charm",))
    untouched = Outcome(Path("c.jpg"), "untouched", {"decode": 1.0, "locate": 2.0})
    failed = Outcome(Path("e.jpg"), "failed", {"decode": 9.0}, message="bad\nfile")
    assert predict.summary([restored, restored, untouched, Outcome(Path("d"), "skipped"), failed], 4.0) == [
        "5 pictures: 2 restored, 1 untouched, 1 skipped, 1 failed",
        "skipped: finished results were kept; --overwrite redoes them",
        "2 of them: it lost its charm",
        "4.0 s, 0.75 pictures per second; from file to file 1.67 s on average, slowest 3.00 s (c.jpg)",
    ]
    assert predict.summary([failed], 1.0) == ["1 picture: 0 restored, 0 untouched, 0 skipped, 1 failed"]
    assert predict.summary([restored], 1.0)[-1].endswith("slowest 1.00 s (a\\nb.jpg)")
    assert [str(restored), str(failed)] == ["restored: a\\nb.jpg", "failed: e.jpg: bad\\nfile"]
