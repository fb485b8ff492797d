"""What is exported is the plain network: the detours of `models.nafnet` around slow kernels are for eager mode only."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle.static import InputSpec

from models.nafnet import eager_on_cpu
from models.tlc import convert_to_local
from tests.models.networks import random_network, random_picture

SMALL = {"width": 4, "encoder_blocks": [1, 2], "middle_blocks": 1, "decoder_blocks": [2, 1], "gate": True}


@pytest.mark.parametrize("local", [False, True])
def test_traced_network_equals_the_eager_one_and_holds_no_matrix_product(local: bool) -> None:
    """oneDNN gives wrong numbers for a matrix product fed by a convolution, without a word."""
    network = random_network(**SMALL)
    if local:
        convert_to_local(network, 8, 1.5)
    x = paddle.to_tensor(random_picture(21, 30))
    assert eager_on_cpu(x)
    with paddle.no_grad():
        expected = [output.numpy() for output in network(x)]
        traced = paddle.jit.to_static(network, input_spec=[InputSpec([1, 3, 21, 30], "float32")], full_graph=True)
        found = [output.numpy() for output in traced(x)]
        program = str(traced.forward.concrete_program.main_program)
    for output, truth in zip(found, expected, strict=True):
        assert output.shape == truth.shape
        np.testing.assert_allclose(output, truth, atol=1e-5 * max(1.0, float(np.abs(truth).max())))
    assert "matmul" not in program
    assert "bmm" not in program
    assert ("cumsum" in program) == local
