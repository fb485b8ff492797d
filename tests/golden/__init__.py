"""Recorded results: a test here fails when what the project does comes out otherwise.

`python -m tests.golden.record` writes `recorded.json` anew: do so only for a change that is meant.
"""
