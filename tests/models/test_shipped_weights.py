"""The shipped weights against the numbers of the PyTorch network that they were trained in.

`data/shipped_weights_check.npz` holds a random input of 97x131 and that network's two outputs in float32.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest

from models.presets import PRESETS
from models.weights import Weights, load_weights, network_of

CHECK = Path(__file__).parent / "data" / "shipped_weights_check.npz"
SHIPPED = Path(__file__).parents[2] / "test_code" / "model.pdparams"


@pytest.fixture(scope="module")
def weights() -> Weights:
    return load_weights(SHIPPED)


def test_description(weights: Weights) -> None:
    assert weights.model == {**PRESETS["w16_middle10"], "gate": True}
    assert weights.predict["tlc_train_size"] == 256
    assert weights.origin["sha256"]


def test_equals_pytorch(weights: Weights) -> None:
    with np.load(CHECK) as check:
        x, restored, mask_logit = check["x"], check["restored"], check["mask_logit"]
    found_restored, found_logit = (output.numpy() for output in network_of(weights)(paddle.to_tensor(x)))
    np.testing.assert_allclose(found_restored, restored, atol=1e-5)
    # Logits reach -18, so the bound is on their relative error where they exceed 1.
    np.testing.assert_allclose(found_logit, mask_logit, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(1 / (1 + np.exp(-found_logit)), 1 / (1 + np.exp(-mask_logit)), atol=1e-5)
