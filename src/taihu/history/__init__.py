"""Columnar history: flush, compaction, rollups and queries."""
