"""What runs the network on one tile: Paddle's eager mode, its static predictor, onnxruntime and OpenVINO.

All of them give the same numbers behind the one interface of `inference.backends.base`. They know nothing of tiles
beside the one they are given, and nothing of files of pictures. `inference.backends.choice.open_backend` chooses and
proves one; engines are imported only when they are opened.
"""
