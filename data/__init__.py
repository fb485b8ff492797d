"""Pictures, masks, the contest's folders and the making of samples; knows nothing of training."""
