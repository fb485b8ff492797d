"""`python -m utils.schedule` opens `data.batches.sampling`, in a room above this one."""

import importlib
import sys

if __name__ == "__main__":
    sys.exit(importlib.import_module("data.batches.sampling").main())
