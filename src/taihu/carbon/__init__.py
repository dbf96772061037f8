"""Carbon: emission factors, the hourly ledger, matching of consumption with generation, and certificates."""
