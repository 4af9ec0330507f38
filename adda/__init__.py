"""Problem 4: improved adaptation of digits (ADDA and self-training)."""

import common  # noqa: F401  (its import sets how Ctrl-C is handled during start-up)
