"""A thin layer over `onnx.helper` that makes a graph read like the network that it writes down."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# What onnxruntime and OpenVINO of the pinned versions both take, and what ONNX has had since early 2023.
OPSET = 18
IR_VERSION = 8


class GraphWriter:
    """Collects nodes and constants; every method gives the name of what it has written.

    Equal constants are stored once, and nothing is stored that no node reads.
    """

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple, onnx.TensorProto] = {}

    def constant(self, values: np.ndarray | np.generic | Sequence[int], name: str | None = None) -> str:
        """NumPy's values as they are, a list of whole numbers as int64.

        Args:
            name: for people who look at the file; the first name that an array was given counts.
        """
        array = np.asarray(values, getattr(values, "dtype", np.int64), order="C")
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = numpy_helper.from_array(array, name or f"constant_{len(self._constants)}")
        return self._constants[key].name

    def node(self, operator: str, *inputs: str, **attributes: object) -> str:
        """A node with one output."""
        return self.nodes(operator, 1, *inputs, **attributes)[0]

    def nodes(self, operator: str, outputs: int, *inputs: str, **attributes: object) -> list[str]:
        """A node with several outputs."""
        name = f"{operator}_{len(self._nodes)}"
        results = [name] if outputs == 1 else [f"{name}_{index}" for index in range(outputs)]
        self._nodes.append(helper.make_node(operator, inputs, results, name=name, **attributes))
        return results

    def model(
        self,
        source: tuple[str, Sequence[int | str]],
        result: tuple[str, Sequence[int | str], str],
    ) -> bytes:
        """The file of the whole graph.

        Args:
            source: the input's name and shape; float32; a side that may be any has a name.
            result: the output's name and shape, float32, and the value that it is.
        """
        name, shape, value = result
        graph = helper.make_graph(
            [*self._nodes, helper.make_node("Identity", [value], [name], name=name)],
            "nafnet",
            [helper.make_tensor_value_info(source[0], TensorProto.FLOAT, source[1])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)],
            list(self._constants.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return model.SerializeToString()
