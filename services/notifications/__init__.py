"""Pushes: what is said to members on their phones, and how it gets there."""
