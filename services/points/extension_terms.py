"""What moving the end of a lot costs and gives (`domain.md`, Points, Extension)."""

EXTENSION_FEE_PERCENT = 5
EXTENSION_DAYS = 30
EXTENSION_WINDOW_DAYS = 30
