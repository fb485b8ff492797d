"""The settings of a run: what they are (schema), how YAML becomes them (load, parsing), what cannot work (checks)."""
