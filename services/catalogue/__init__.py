"""What points buy, and how a member finds it."""
