"""The field process: devices called by their own protocols."""
