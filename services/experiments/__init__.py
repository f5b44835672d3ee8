"""Experiments: who sees which variant, what is measured of them, and what it says."""
