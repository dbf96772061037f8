"""Readings in and out of a node in bulk: what an export's folder holds, and where an import's rows come from."""
