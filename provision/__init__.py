"""The operator's side of Timelock: from a request to a booking on hosts, and back."""
