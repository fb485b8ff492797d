"""The networks: NAFNet, its occlusion gate and its test-time local means; knows nothing of files or pictures.

`models.presets` and this package can be read without Paddle; everything else imports it.
"""

# Paddle 2.6.2 breaks gzip and NumPy's random module when it is imported before them.
import zlib  # noqa: F401

import numpy as np  # noqa: F401
