"""What tests of all rooms share. Tests import it by name, as they import needs.py."""
