"""Training samples: stored patches, fresh occlusions, batches."""
