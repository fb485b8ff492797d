"""`python -m utils.schedule` opens `data.batches.sampling`, in a room above this one."""

import importlib

if __name__ == "__main__":
    raise SystemExit(importlib.import_module("data.batches.sampling").main())
