"""Small tools that every package may use; nothing here imports another package of the project."""
