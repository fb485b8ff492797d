"""Memory stays flat over a thousand pictures, with a real network and real threads, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.weights import Weights, arrays_of, save_weights
from tests.inference.painted import page
from tests.models.networks import build

ROOT = Path(__file__).resolve().parents[2]
# Prints the resident megabytes after every hundred pictures.
PROGRAM = """
import sys
from utils.machine import start_paddle
start_paddle(1)
from inference.folder import restore_folder
from inference.restorer import Restorer
from inference.sources import list_pictures
weights, source, results = sys.argv[1:]
restorer = Restorer(weights, "cpu", backend="paddle", mode="tiles", scale=0.1, rows=1, columns=1)
listing = list_pictures(source, results)
for number, outcome in enumerate(restore_folder(restorer, listing, results), 1):
    assert outcome.status == "restored", outcome
    if number % 100 == 0:
        pages = int(open("/proc/self/statm").read().split()[1])
        print(pages * 4096 / 1e6)
"""


@pytest.mark.long
def test_memory_stays_flat_over_a_thousand_pictures(tmp_path):
    network = build("tiny")
    arrays = {name: value + np.float32(0.1) for name, value in arrays_of(network).items()}
    save_weights(tmp_path / "tiny.pdparams", Weights(params=arrays, model=network.config))
    (tmp_path / "in").mkdir()
    for index in range(20):
        # Sizes differ, so that memory of one cannot simply serve the next.
        path = tmp_path / f"p{index}.jpg"
        Image.fromarray(page(200 + 9 * index, 260, (20, 30, 60, 70))).save(path)
        for copy in range(50):
            (tmp_path / "in" / f"{copy:02}_{index:02}.jpg").symlink_to(path)
    command = [sys.executable, "-c", PROGRAM, *(str(tmp_path / name) for name in ("tiny.pdparams", "in", "out"))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    megabytes = [float(line) for line in done.stdout.split()]
    assert len(megabytes) == 10
    # A picture takes 0.2 MB once decoded: kept, the last 900 would take 200.
    assert max(megabytes[1:]) - megabytes[0] < 30, megabytes
