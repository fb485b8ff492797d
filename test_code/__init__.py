"""What the contest's graders receive: the weights, sample photos, and the builder of the submission ZIP."""
