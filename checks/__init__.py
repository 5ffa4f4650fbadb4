"""Checks of this project's own rules. Run all with `python3 -m checks`, some by name: `python3 -m checks sql links`."""
