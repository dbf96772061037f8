"""From a message to its acknowledgement: decoded, checked, journalled, on the one loop of the ingest process."""
