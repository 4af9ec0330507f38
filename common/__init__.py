"""Code shared by the four problems."""

import sys

# While `python -m dann.train` imports its modules, Ctrl-C should not print a traceback. common.cli.run_main
# handles it later.
if sys.argv[:1] == ["-m"]:
    import signal

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
