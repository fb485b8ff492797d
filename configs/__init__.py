"""The settings of a run: what they are (schema), how YAML becomes them and what cannot work (load, parsing)."""
