"""Results recorded before the house was rebuilt; a test here fails when what the project does comes out otherwise.

Inputs are made with NumPy, OpenCV, Pillow and tifffile only. `python -m tests.golden.record` writes
`recorded.json` anew: do so only for a change that is meant.
"""
