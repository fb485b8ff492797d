"""Makes photographs with occluders from pages and cut-outs."""
