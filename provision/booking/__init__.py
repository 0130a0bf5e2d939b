"""A booking: ledger, life, stack and acceptance."""
