"""Commands on their way to devices, and back."""
