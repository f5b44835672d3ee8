"""Tasks, check-ins, and the events that drive them."""
