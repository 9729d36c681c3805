"""How likely Codes are, and new ones."""
