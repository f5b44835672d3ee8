"""What a checkout needs to run by itself: embedded stores, a supervisor, demo data."""
