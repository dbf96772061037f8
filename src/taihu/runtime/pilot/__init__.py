"""The pilot process: the controllers of a site, and what they decided."""
