"""The worker process: takes the journal into the history, and answers questions about it."""
