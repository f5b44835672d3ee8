"""The ledger: lots, balances, expiry, history, verification."""
