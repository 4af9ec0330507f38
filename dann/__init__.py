"""Problem 3: domain-adversarial training of digits (DANN)."""

import common  # noqa: F401  (its import sets how Ctrl-C is handled during start-up)
