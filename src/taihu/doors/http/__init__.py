"""The HTTP door: batch ingestion, newest values, history, live tail, health and metrics."""
