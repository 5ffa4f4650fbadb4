"""Muster's side of the host: evaluates `master.cfg`, turns its objects into data, answers its functions.

What configurations import is the package `buildbot` beside this one. It may use this package; nothing here is for
users.
"""
