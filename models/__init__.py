"""The networks: NAFNet with its occlusion gate, its test-time local means, and the file of trained weights.

`models.weights` is read without Paddle until a network is built.
"""

# Paddle 2.6.2 breaks gzip and NumPy's random module when it is imported before them.
import zlib  # noqa: F401

import numpy as np  # noqa: F401
