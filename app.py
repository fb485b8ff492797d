"""A page to drop photos on, on this machine: open the address that it prints.

    python app.py
    python app.py --port 8080 --max-megabytes 300
"""

from __future__ import annotations

import sys

from utils.command import starting

if __name__ == "__main__":
    starting()
    from web.server import main

    sys.exit(main())
