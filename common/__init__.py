"""What two of the problems need and none of them owns."""

import sys

# `python -m dann.train` is being started: Ctrl-C while it imports is no traceback. common.cli.run_main catches it again.
if sys.argv[:1] == ["-m"]:
    import signal

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
