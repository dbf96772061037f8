"""Exact deletes, carried through all that holds a copy."""
