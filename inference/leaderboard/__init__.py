"""Compares ways to restore photos, picture by picture, on sets whose truth is known: `python -m inference.leaderboard`.

`scenes` reads the sets and judges a result, `methods` is the list of ways, `board` runs them and keeps what was
measured, `table` makes tables of it.
"""
