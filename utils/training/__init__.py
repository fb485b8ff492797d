"""What a training run keeps: schedule, checkpoints, its folder, its processes."""


class CheckpointError(ValueError):
    """A checkpoint or record of a run that cannot be used; the message names the file, says why and what to do."""
