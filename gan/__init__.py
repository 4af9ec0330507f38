"""Problem 1: faces from noise (DCGAN)."""

import common  # noqa: F401  (see there: Ctrl-C while a program starts)
