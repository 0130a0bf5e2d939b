"""What runs on a supplier's host: it watches each booked GPU and keeps the evidence. Knows nothing of `stacks`."""
