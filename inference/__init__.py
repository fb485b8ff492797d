"""What runs a trained network over a picture: the only package that pads, tiles and pastes.

`from inference import Restorer` gives the one class that everything else uses; it is loaded when first asked for, so
that nothing is imported that is not needed. ARCHITECTURE.md says where to look for what.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name in ("Restored", "Restorer"):
        from inference import restorer

        return getattr(restorer, name)
    raise AttributeError(f"module 'inference' has no attribute {name!r}")
