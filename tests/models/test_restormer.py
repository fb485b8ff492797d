"""Restormer against the authors' PyTorch code, and refused where it does not fit.

data/restormer_check.npz: parameter names and shapes, and the output of the official network (dim 8, blocks 1 1 1 2,
one of refinement; as `centred`) for the picture and parameters drawn below; `plain` is a denoiser's kind.
"""

from pathlib import Path

import numpy as np
import paddle
import pytest
from safetensors.numpy import save_file

from configs.schema import RESTORMER_PRESETS
from inference.engines import BackendError
from inference.export import export
from inference.restorer import Restorer
from models.convert import convert
from models.restormer import Restormer
from models.weights import Weights, arrays_of, network_of

CHECK = np.load(Path(__file__).parent / "data" / "restormer_check.npz")


def official(kind: str) -> dict[str, np.ndarray]:
    rng, arrays = np.random.default_rng(6), {}
    for name, text in zip(CHECK[f"{kind}_names"], CHECK[f"{kind}_shapes"], strict=True):
        shape = tuple(map(int, text.split()))
        scaled = rng.normal(0, 1, shape) / max(1, np.prod(shape[1:])) ** 0.5
        arrays[str(name)] = (scaled + ("norm" in name and name.endswith("weight"))).astype(np.float32)
    return arrays


def test_an_official_checkpoint_gives_the_official_picture(tmp_path):
    save_file({f"params.{name}": values for name, values in official("centred").items()}, tmp_path / "a.safetensors")
    weights = convert(tmp_path / "a.safetensors")
    assert weights.model == {"dim": 8, "num_blocks": [1, 1, 1, 2], "num_refinement_blocks": 1}
    assert weights.predict == {"tlc_ratio": 0}
    picture = np.random.default_rng(5).random((1, 3, 24, 40), dtype=np.float32)
    restored = network_of(weights)(paddle.to_tensor(picture)).numpy()
    np.testing.assert_allclose(restored, CHECK["centred"], atol=1e-4, rtol=0)


def test_what_does_not_fit_is_refused_in_a_sentence(tmp_path):
    network = Restormer(**RESTORMER_PRESETS["restormer_tiny"])
    weights = Weights(arrays_of(network), {"tlc_ratio": 0})
    with pytest.raises(ValueError, match="no channel means that TLC could make local"):
        Restorer(weights, "cpu", mode="full", tlc_ratio=1.5)
    for function, options in ((Restorer, {"backend": "onnxruntime"}), (export, {"out": tmp_path / "out"})):
        with pytest.raises(BackendError, match="Restormer is not exported; it runs with backend paddle"):
            function(weights, **options)
    assert not list((tmp_path / "out").glob("*"))
    save_file(official("plain"), tmp_path / "plain.safetensors")
    with pytest.raises(ValueError, match=r"plain\.safetensors: .*missing .*\.norm1\.body\.bias"):
        convert(tmp_path / "plain.safetensors")
    six = {**official("centred"), "patch_embed.proj.weight": np.zeros((8, 6, 3, 3), np.float32)}
    save_file(six, tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="takes 6 channels"):
        convert(tmp_path / "b.safetensors")
