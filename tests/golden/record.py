"""Records the golden results anew, for a change of behaviour that is meant.

python -m tests.golden.record                  # all of them
python -m tests.golden.record test_fill.py     # those of one file; the others stay
"""

import json
import sys

import pytest

from tests.golden import recorded_values
from tests.golden.recorded_values import FILE


def main() -> int:
    recorded_values.TAKEN = {}
    chosen = [str(FILE.with_name(name)) for name in sys.argv[1:]]
    code = pytest.main(["-q", *(chosen or [str(FILE.parent)])])
    if code == 0:
        values = {**(json.loads(FILE.read_text("utf-8")) if chosen else {}), **recorded_values.TAKEN}
        # A line for each value: a change then shows as that.
        lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in sorted(values.items())]
        FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
