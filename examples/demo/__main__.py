"""Runs the demo; Ctrl-C and a closed pipe end it quietly, with nothing left behind."""

from __future__ import annotations

import os
import signal
import sys

INTERRUPTED = 130  # what shells call "ended by SIGINT"
READER_GONE = 141  # the same for SIGPIPE: `make demo | head`


def run() -> int:
    """The exit code: 0, 1 when something is missing or wrong, 130 after Ctrl-C, 141 when nobody reads any more."""
    try:
        # Imported here, so that Ctrl-C is handled from the first moment.
        from examples.demo.data import DataSetError
        from examples.demo.main import main

        try:
            main()
        except DataSetError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    except KeyboardInterrupt:
        # The blocks on the way here have closed the connections and stopped the server. No second one during the last words.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        newline = "\n" if sys.stderr.isatty() else ""  # the cursor may stand behind a progress bar, or "^C"
        print(f"{newline}Interrupted: the server has been stopped, nothing is left running.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Python writes what is left in the buffer when it ends, and would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    return 0


if __name__ == "__main__":
    sys.exit(run())
