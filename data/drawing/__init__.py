"""Pages, hands and heads drawn from nothing, so that every script runs on a machine without any photograph."""
