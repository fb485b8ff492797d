"""The doctor: what works, what is wrong and how it is mended, and an exit code that scripts can trust."""

from pathlib import Path

import pytest

from inference import doctor
from inference.doctor import GOOD, WRONG
from tests.conftest import python
from utils.child import ChildError


@pytest.mark.long
def test_every_engine_restores_a_page_with_the_shipped_weights():
    told = python("-m", "utils.doctor").stdout
    for words in ("ok    cpu onnxruntime", "ok    cpu paddle", ": a locator", "ok    memory", "extra ray"):
        assert words in told
    assert told.splitlines()[-1].startswith("prediction works")


@pytest.mark.parametrize(("options", "words"), [
    ([], ["WRONG cpu paddle       libgomp.so.1: cannot open shared object file\n", "-> reinstall"]),
    (["--weights=w.pdparams"], ["WRONG weights          w.pdparams: not a whole file"])])  # fmt: skip
def test_a_machine_that_cannot_predict_gives_1_and_what_to_mend(options, words, monkeypatch, capsys, tmp_path):
    def fails(*_):
        raise ChildError("ended with code 1", "ImportError: libgomp.so.1: cannot open shared object file")

    monkeypatch.setattr(doctor, "ask", fails)
    monkeypatch.chdir(tmp_path)
    Path("w.pdparams").write_text("torn")
    assert doctor.main(options) == 1
    told = capsys.readouterr().out
    assert all(said in told for said in ("prediction does not work; to be mended:", *words))
    assert ("cpu paddle" in told) == (not options)


def test_little_memory_and_a_closed_cache_are_told_with_their_mending(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UNCOVER_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(doctor, "available_bytes", lambda: 400_000_000)
    found = {one.subject: one for one in doctor.check_machine()}
    assert found["memory"].state == found["cache"].state == WRONG
    assert "0.4 GB free" in found["memory"].words
    assert "UNCOVER_CACHE" in found["cache"].mend
    assert found["temporary"].state == GOOD


def test_packages_that_are_missing_or_of_another_version_are_named_with_what_goes_without_them(monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: {"jpeglib": "0.9", "onnxruntime-gpu": "1"}.get(name))
    # No engine is in it.
    assert "onnxruntime-gpu" not in doctor.known_versions()
    told = [str(one) for one in doctor.check_versions()]
    for part, command in (("ONNX export", "onnx"), ("JPEG by blocks", "jpeglib==1.0.2"), ("extra ray", "ray fsspec")):
        assert any(part in line and f"-> pip install {command}" in line for line in told)
