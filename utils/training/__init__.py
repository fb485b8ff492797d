"""What a training run keeps: schedule, checkpoints, its folder, its processes."""
