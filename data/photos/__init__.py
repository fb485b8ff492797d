"""A user's own picture file and what it must keep."""
