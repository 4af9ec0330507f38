"""Problem 3: domain-adversarial training of digits (DANN)."""

import common  # noqa: F401  (see there: Ctrl-C while a program starts)
