"""Things, their models and properties, batches of readings, and the ports between layers."""
