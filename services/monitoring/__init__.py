"""Watching the mall: figures, alerts, health."""
