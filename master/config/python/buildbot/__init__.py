"""The names that Buildbot configurations import, offered by Muster.

The objects here only check and keep what they are given; Muster itself does the work.
"""

#: The release of Buildbot whose configurations are understood.
version = "4.3.0"
__version__ = version
