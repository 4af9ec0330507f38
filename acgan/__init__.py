"""Problem 2: generating faces with a chosen attribute (ACGAN)."""

import common  # noqa: F401  (its import sets how Ctrl-C is handled during start-up)
