"""The settings of a run: what they are and how values become them (schema), YAML and what cannot work (load)."""
