"""Compares ways to restore photos, picture by picture, on sets whose truth is known: `python -m inference.leaderboard`.

`scenes` reads the sets, `methods` is the list of ways, `measure` compares one result with the truth, `records` keeps
what was measured, `table` makes tables of it, `worst` shows where a method fails.
"""
