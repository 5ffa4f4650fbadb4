"""Steps of the configuration's own classes, run beside the builds. The contract with the master is in PROTOCOL.md.

Nothing in here is imported before the first such step runs.
"""
