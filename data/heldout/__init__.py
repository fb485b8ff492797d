"""The held-out sets that figures are reported on; `python -m data.heldout` makes and proves them."""
