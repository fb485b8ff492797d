"""Where occluders are: probability, blobs, outline."""
