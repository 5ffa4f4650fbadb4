//! A real Buildbot 4.3.0, installed by the test and kept for the next one.
