"""Programs for data preparation, evaluation and the report."""

import common  # noqa: F401  (its import sets how Ctrl-C is handled during start-up)
