"""Generators: which events a reporter tells, and how."""
