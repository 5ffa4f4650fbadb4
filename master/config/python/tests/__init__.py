"""Tests of the host and of the package that configurations import. They need no master."""

import sys

# The packages are built into the binary as they lie here: no compiled files beside them.
sys.dont_write_bytecode = True
