"""Notifications: planning pushes, delivering them, and what members say about them."""
