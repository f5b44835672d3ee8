"""Achievements: what they measure, how they are unlocked, and what members see of them."""
