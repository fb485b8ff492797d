"""Paddle's static predictor: the eager numbers at any size, exports kept and proved, wrong ones refused."""

from __future__ import annotations

import json
import logging

import numpy as np
import paddle
import pytest

from inference.engines import cache as export_cache
from inference.engines import static
from inference.engines.base import BackendError, Proof
from inference.engines.choice import open_backend
from inference.engines.static import StaticBackend, export_static
from tests.inference.small import SETTINGS, eager, small_weights, tile


@pytest.mark.long
@pytest.mark.parametrize("gate", [True, False])
def test_it_gives_the_eager_networks_numbers_and_tries_each_size_once(gate, tmp_path, monkeypatch):
    monkeypatch.setenv(export_cache.FOLDER_VARIABLE, str(tmp_path))
    tried, try_export = [], static.try_export
    monkeypatch.setattr(static, "try_export", lambda *arguments: tried.append(1) or try_export(*arguments))
    weights = small_weights(gate=gate)
    opened, reference = open_backend(weights, SETTINGS, "inference", device="cpu", threads=2), eager(weights)
    assert (opened.name, opened.precision, opened.device, opened.gated) == ("inference", "fp32", "cpu", gate)
    assert "24x24, 12x12, 6x6" in opened.tlc
    # 44 x 44 after padding is the size of the proof; the next two share another one.
    for height, width in [(41, 43), (1, 3), (4, 2)]:
        output = opened(tile(height, width))
        assert output.dtype == np.float32
        np.testing.assert_allclose(output, reference(tile(height, width)), atol=1e-4)
    assert len(list(tmp_path.iterdir())) == len(tried) == 2
    again = StaticBackend(weights, SETTINGS, "cpu", 2)
    np.testing.assert_array_equal(again(tile(4, 2)), opened(tile(4, 2)))
    assert len(tried) == 2


@pytest.fixture
def no_process(monkeypatch):
    """Stands in for the trial: opens and asks in this process. Returns the settings of oneDNN that were tried."""
    tried = []

    def try_export(engine, folder, proofs, device, threads):
        tried.append(json.loads((folder / "notes.json").read_text())["onednn"])
        predictor = static.StaticPredictor(folder, device, 1)
        return max(proof.difference(predictor) for proof in proofs)

    monkeypatch.setattr(static, "try_export", try_export)
    return tried


def test_an_export_with_a_changed_weight_is_refused_with_what_each_way_did(tmp_path, no_process):
    proof = Proof.of(eager(small_weights()), 8, 12)
    changed = small_weights()
    changed.params["ending.weight"][0, 0, 0, 0] += 1
    with pytest.raises(BackendError, match=r"8 x 12.*without oneDNN: off by.*take another backend"):
        export_static(changed, SETTINGS, tmp_path, proof)
    assert no_process[-1] is False


def test_where_onednn_fails_the_way_without_it_is_kept(tmp_path, monkeypatch):
    if int(paddle.__version__.split(".")[0]) < 3:
        pytest.skip("oneDNN is not tried under 2.x")

    def try_export(engine, folder, proofs, device, threads):
        if json.loads((folder / "notes.json").read_text())["onednn"]:
            raise BackendError("inference ended its process with SIGSEGV")
        return 0.0

    monkeypatch.setattr(static, "try_export", try_export)
    export_static(small_weights(), SETTINGS, tmp_path, Proof.unanswered(8, 12))
    assert json.loads((tmp_path / "notes.json").read_text())["onednn"] is False


def test_a_torn_export_is_made_again(tmp_path, monkeypatch, no_process):
    monkeypatch.setenv(export_cache.FOLDER_VARIABLE, str(tmp_path))
    StaticBackend(small_weights(), SETTINGS, "cpu", 1)
    (entry,) = tmp_path.iterdir()
    parameters = entry / "model.pdiparams"
    parameters.write_bytes(parameters.read_bytes()[:-7])
    no_process.clear()
    opened = StaticBackend(small_weights(), SETTINGS, "cpu", 1)
    assert no_process
    np.testing.assert_allclose(opened(tile(41, 41)), eager(small_weights())(tile(41, 41)), atol=1e-4)


def test_large_tiles_are_run_but_not_compared(tmp_path, monkeypatch, no_process, caplog):
    monkeypatch.setenv(export_cache.FOLDER_VARIABLE, str(tmp_path))
    opened = StaticBackend(small_weights(), SETTINGS, "cpu", 1)
    monkeypatch.setattr(static, "_COMPARED_PIXELS", 100)
    asked = []
    monkeypatch.setattr(static.Proof, "of", lambda *arguments: asked.append(1))
    caplog.set_level(logging.INFO, "inference")
    assert opened(tile(9, 30)).shape == (1, 4, 9, 30)
    assert not asked
