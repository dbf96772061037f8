"""IEC 60870-5-104: substations and what stands before them."""
