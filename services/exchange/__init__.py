"""Spending points, and what an exchange gives."""
