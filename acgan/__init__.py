"""Problem 2: faces with a chosen attribute (ACGAN)."""

import common  # noqa: F401  (see there: Ctrl-C while a program starts)
