"""Projects, credentials, grants and the metadata store."""
