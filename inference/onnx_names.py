"""What the exported network's input and output are called; both are described in `inference.onnx_graph.build_onnx`."""

INPUT = "tile"
OUTPUT = "restored"
