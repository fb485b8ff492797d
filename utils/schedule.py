"""`python -m utils.schedule` opens `data.batches.sampling`, which stands in a room above since it asks the sampling."""

import importlib
import sys

if __name__ == "__main__":
    sys.exit(importlib.import_module("data.batches.sampling").main())
