"""The settings of a run: what they are (schema), how YAML becomes them (loading), what cannot work (checks)."""
