"""A package, so that pytest can tell its conftest.py from that of tests/."""
