"""Tests of what operators install: chart, image, compose file, units, load balancers, and the pages that tell of them."""
