"""What runs a trained network over a picture: the only package that pads, tiles and pastes."""

from inference.restorer import Restored, Restorer

__all__ = ["Restored", "Restorer"]
