"""The ledger's tables and what may be done to each within a transaction that somebody else opened and will end."""
