from __future__ import annotations

import numpy as np
import paddle

from models.nafnet import apply_gate, probability, restore
from tests.models.networks import random_network, random_picture

TINY = {"width": 4, "encoder_blocks": [1], "middle_blocks": 1, "decoder_blocks": [1]}


def test_covered_pixels_are_restored_and_the_others_stay() -> None:
    x = paddle.to_tensor(random_picture(2, 3, seed=1))
    restored = paddle.to_tensor(random_picture(2, 3, seed=2))
    logit = paddle.to_tensor(np.float32([[[[-200, 200, 0], [200, -200, 0]]]]))
    result = apply_gate(x, restored, logit).numpy()
    covered = np.array([[False, True, False], [True, False, False]])
    uncovered = np.array([[True, False, False], [False, True, False]])
    np.testing.assert_array_equal(result[..., uncovered], x.numpy()[..., uncovered])
    np.testing.assert_allclose(result[..., covered], restored.numpy()[..., covered], atol=1e-6)
    np.testing.assert_allclose(result[..., 2], (x.numpy() + restored.numpy())[..., 2] / 2, atol=1e-6)
    np.testing.assert_allclose(probability(logit).numpy()[0, 0, :, 2], 0.5)


def test_restore_serves_networks_with_and_without_gate() -> None:
    x = paddle.to_tensor(random_picture(9, 11))
    plain = random_network(**TINY)
    result, mask = restore(plain, x)
    assert mask is None
    np.testing.assert_array_equal(result.numpy(), plain(x).numpy())

    gated = random_network(**TINY, gate=True)
    result, mask = restore(gated, x)
    restored, logit = gated(x)
    expected = 1 / (1 + np.exp(-logit.numpy()))
    assert mask.shape == [1, 1, 9, 11]
    np.testing.assert_allclose(mask.numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(result.numpy(), x.numpy() + expected * (restored.numpy() - x.numpy()), atol=1e-6)
