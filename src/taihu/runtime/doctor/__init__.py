"""Examines a site: what is wrong, why that matters, and the command that mends it. It changes nothing."""
