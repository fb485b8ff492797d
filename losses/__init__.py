"""What training minimises: `losses.total.TotalLoss` sums the terms that a config lists (`configs.schema.LossTerm`)."""

# Paddle 2.6.2 breaks gzip and NumPy's random module when it is imported before them.
import zlib  # noqa: F401

import numpy as np  # noqa: F401
