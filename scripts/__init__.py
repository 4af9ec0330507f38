"""Programs around the four problems: data, measurements, report."""

import common  # noqa: F401  (see there: Ctrl-C while a program starts)
