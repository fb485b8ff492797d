"""Records the golden results anew: `python -m tests.golden.record`, for a change of behaviour that is meant."""

from __future__ import annotations

import json
import sys

import pytest

from tests.golden.recorded_values import FILE, Recorder


def main() -> int:
    recorder = Recorder()

    code = pytest.main(["-q", str(FILE.parent)], plugins=[recorder])
    if code == 0:
        FILE.write_text(json.dumps(recorder.values, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
