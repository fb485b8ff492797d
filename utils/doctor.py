"""`python -m utils.doctor` opens `inference.doctor`, which stands in a room above since it runs the engines."""

import importlib

if __name__ == "__main__":
    raise SystemExit(importlib.import_module("inference.doctor").main())
