"""What training minimises. `losses.settings` describes the terms without paddle; `losses.total` computes them.

Importing this package does not import paddle; the names below do when they are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from losses.settings import TERMS, data_ranges, minimum_patch, needs_gate, normalise_terms

if TYPE_CHECKING:
    from losses.total import LOSSES, TotalLoss

__all__ = ["LOSSES", "TERMS", "TotalLoss", "data_ranges", "minimum_patch", "needs_gate", "normalise_terms"]


def __getattr__(name: str) -> Any:
    if name in ("LOSSES", "TotalLoss"):
        from losses import total

        return getattr(total, name)
    raise AttributeError(f"module 'losses' has no attribute {name!r}")
