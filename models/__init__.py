"""The networks: NAFNet with its occlusion gate, TLC, the locator; and the file of weights, read without Paddle."""

# Paddle 2.6.2 breaks gzip and NumPy's random module when it is imported before them.
import zlib  # noqa: F401

import numpy as np  # noqa: F401
