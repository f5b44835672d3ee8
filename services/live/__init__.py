"""What those who watch are told: newest values, computed once for all who watch the same."""
