"""Clock, identifiers, units, errors, limits, configuration and files: all that touches time and disk syncs."""
