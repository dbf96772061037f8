"""The carbon ledger as a service: kept in step with the history, and asked."""
