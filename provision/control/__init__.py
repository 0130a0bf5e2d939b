"""`timelock serve`: the control plane."""
