"""Source S0: a BPF program in the kernel that sees, and may refuse, every opening of a GPU's device by anyone."""
