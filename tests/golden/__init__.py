"""Results recorded before the house was rebuilt; a test here fails when what the project does comes out otherwise.

Inputs are made here with NumPy, OpenCV, Pillow and tifffile only, and `inside` is the one file that knows the
project's modules. `python -m tests.golden.record` writes `recorded.json` anew: do so only for a change that is meant.
"""
