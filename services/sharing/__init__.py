"""Links that members share, and the members they bring."""
