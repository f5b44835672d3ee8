"""Demo data: the same mall on every machine, its history ending today."""
