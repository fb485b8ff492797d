"""How good a restored picture is (score), and `python -m metrics RESULTS GT`, which measures a folder."""
