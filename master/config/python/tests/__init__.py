"""Tests of the host and of the package that configurations import. They need no master."""
