"""How good a restored picture is: PSNR, MS-SSIM and the contest's score, in NumPy and OpenCV alone.

`python -m metrics RESULTS GT` measures a folder.
"""

from metrics.ms_ssim import ms_ssim
from metrics.score import contest_score, evaluate, psnr

__all__ = ["contest_score", "evaluate", "ms_ssim", "psnr"]
