"""The ingest process: one node's parts put together, and its doors opened."""
