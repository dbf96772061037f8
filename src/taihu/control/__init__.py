"""Commands as contracts: permits, interlocks and the life cycle. The only maker of commands (§7)."""
