"""The ONNX file itself: what it declares, and that it carries nothing that nobody reads."""

from __future__ import annotations

import onnx
import pytest

from configs.schema import PredictConfig
from inference.engines.onnx_graph import build_onnx
from models.weights import Weights, arrays_of
from tests.models.networks import random_network

TINY = {"width": 4, "encoder_blocks": [1, 1], "middle_blocks": 1, "decoder_blocks": [1, 1]}


def _weights(**arguments: object) -> Weights:
    network = random_network(**TINY, **arguments)
    return Weights(params=arrays_of(network), model=network.config)


@pytest.mark.parametrize("ratio", [0, 1.5])
@pytest.mark.parametrize("gate", [False, True])
def test_declares_its_sides_and_stores_nothing_unused(gate: bool, ratio: float) -> None:
    settings = PredictConfig(tlc_ratio=ratio)
    graph = onnx.load_from_string(build_onnx(_weights(gate=gate), settings)).graph
    shapes = [
        [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    ]
    assert shapes == [[1, 3, "height", "width"], [1, 4 if gate else 3, "height", "width"]]
    read = {name for node in graph.node for name in node.input}
    assert {constant.name for constant in graph.initializer} <= read
    written = {name for node in graph.node for name in node.output}
    assert written - read == {"restored"}


def test_sides_can_be_fixed() -> None:
    graph = onnx.load_from_string(build_onnx(_weights(), PredictConfig(), height=40, width=24)).graph
    assert [side.dim_value for side in graph.input[0].type.tensor_type.shape.dim] == [1, 3, 40, 24]
    assert [side.dim_value for side in graph.output[0].type.tensor_type.shape.dim] == [1, 3, 40, 24]


def test_same_weights_give_the_same_bytes() -> None:
    assert build_onnx(_weights(gate=True), PredictConfig()) == build_onnx(_weights(gate=True), PredictConfig())


def test_weights_of_another_network_are_refused_by_name() -> None:
    weights = _weights()
    del weights.params["middle_blks.0.beta"]
    with pytest.raises(ValueError, match=r"missing middle_blks\.0\.beta"):
        build_onnx(weights, PredictConfig())
