"""Reporters: they tell people what happened."""
