"""Encoded rows: how they come to be, how they are written and checked, how they are read back."""
