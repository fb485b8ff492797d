"""What runs the network: Paddle, onnxruntime, OpenVINO; the exported files and their cache."""
