"""How good a restored picture is: PSNR, MS-SSIM and the contest's score, in NumPy and OpenCV alone.

Pictures are uint8 [H, W, 3] with white = 255. `python -m metrics RESULTS GT` measures a folder.
"""
