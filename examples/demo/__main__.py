"""Runs the demo; Ctrl-C and a closed pipe end it quietly, with nothing left behind."""

from __future__ import annotations

import os
import signal
import sys

INTERRUPTED = 130  # what shells call "ended by SIGINT"
READER_GONE = 141  # the same for SIGPIPE: `make demo | head`


def run() -> int:
    """The exit code: 0, 1 when something is missing or wrong, 130 after Ctrl-C, 141 when nobody reads any more."""
    if sys.stdout is None:  # `>&-`
        return READER_GONE
    try:
        # Imported here, so that Ctrl-C is handled from the first moment.
        from examples.demo.data import DataSetError
        from examples.demo.main import main
        from pgoxide.errors import OperationalError

        try:
            main()
        except BrokenPipeError:
            status = READER_GONE
        except (DataSetError, OperationalError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            status = 1
        else:
            return 0
    except KeyboardInterrupt:
        # The blocks on the way here have closed the connections and stopped the server. No second one from here on.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        newline = "\n" if sys.stderr.isatty() else ""  # the cursor may stand behind a progress bar, or "^C"
        print(f"{newline}Interrupted: the server has been stopped, nothing is left running.", file=sys.stderr)
        status = INTERRUPTED
    # What standard output did not take is still in its buffer: Python would try again at its end, and complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return status


if __name__ == "__main__":
    sys.exit(run())
