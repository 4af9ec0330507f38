"""Problem 1: generating faces from noise (DCGAN)."""

import common  # noqa: F401  (its import sets how Ctrl-C is handled during start-up)
