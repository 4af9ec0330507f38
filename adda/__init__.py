"""Problem 4: improved adaptation of digits (ADDA and self-training)."""

import common  # noqa: F401  (see there: Ctrl-C while a program starts)
