"""`python -m utils.doctor` opens `inference.doctor`, which stands in a room above since it runs the engines."""

import importlib
import sys

if __name__ == "__main__":
    sys.exit(importlib.import_module("inference.doctor").main())
