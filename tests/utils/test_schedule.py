"""A config's schedule as a picture: what is drawn at which iteration, and that neither Paddle nor data is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from configs.load import load_config
from data.batches.schedule import series_of
from data.images import read_rgb

CONFIG = "configs/nafnet_phase2_msssim.yml"


def test_the_curves_are_the_runs_and_what_begins_is_marked():
    series, begins = series_of(load_config(CONFIG, ["schedule.warmup=100"]))
    assert list(series) == ["learning rate", "patch (pixels)", "batch (patches)", "weight of the loss charbonnier",
                            "weight of the loss ms_ssim"]  # fmt: skip
    curves = {name: dict(points) for name, points in series.items()}
    rates = [curves["learning rate"][at] for at in (0, 183_999, 184_000)]
    assert rates == pytest.approx([1e-6, 1e-5, 1e-4], rel=1e-3)
    assert [curves["patch (pixels)"][at] for at in (0, 183_999, 184_000, 599_999)] == [192, 192, 256, 1024]
    assert curves["batch (patches)"][599_999] == curves["weight of the loss ms_ssim"][0] == 1
    assert begins[184_000] == "stage 1, restart"
    assert (begins[408_000], begins[416_000]) == ("stage 3", "restart")


def test_the_command_draws_without_paddle_and_names_what_is_wrong(tmp_path):
    def run(*more):
        code = "import runpy, sys; sys.modules['paddle'] = None; runpy.run_module('utils.schedule', None, '__main__')"
        command = [sys.executable, "-c", code, CONFIG, "--out", str(tmp_path / "a.png"), *more]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert (run().returncode, run().stderr) == (0, "")
    assert min(read_rgb(tmp_path / "a.png").shape[:2]) > 400
    wrong = run("-o", "seed=x")
    assert (wrong.returncode, wrong.stderr[:17]) == (2, "error: -o seed=x:")
