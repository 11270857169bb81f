"""How a command behaves in a shell: its exit code, the signals that end it, and the files that it writes."""

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from .checks import ArgumentError, MinidistillError

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def run(command: Callable[[], int | None]) -> int:
    """Call the command and return the exit code of the process: the command's own, or 0 for None.

    An error that a user can mend is one line on standard error and 2; an output that nobody reads any more is 141;
    SIGINT, SIGTERM and SIGHUP are one line and 128 plus their number, after what the command was doing has been tidied
    up. A character that a stream cannot encode is printed as "?".
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        with signals_handled(_interrupt):
            code = command() or 0
            sys.stdout.flush()
            return code
    except BrokenPipeError:  # whoever read the output has closed it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would say so once more at its end
        return 128 + 13  # SIGPIPE
    except (MinidistillError, OSError, MemoryError) as error:
        print(f"error: {str(error) or 'not enough memory'}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interruption:
        number = interruption.args[0] if interruption.args else signal.SIGINT
        print(f"ended by {signal.Signals(number).name}", file=sys.stderr)
        return 128 + int(number)


Handler = Callable[[int, FrameType | None], object]


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(number)


@contextmanager
def signals_handled(handler: Handler) -> Iterator[dict[int, Any]]:
    """Call the handler for each of SIGNALS, except one that is ignored, as nohup wants it for SIGHUP.

    Yields the handlers that stood there before, by number, and puts them back. In a thread other than the main one
    nothing happens: Python lets it set no handler.
    """
    in_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in SIGNALS if in_main}
    before = {number: it for number, it in before.items() if it not in (signal.SIG_IGN, None)}
    try:
        for number in before:
            signal.signal(number, handler)
        yield before
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def check_outputs(outputs: dict[str, Path | None]) -> None:
    """Check, before any work, that a file can be written at the path of each option, None for one that is not given.

    Raises ArgumentError for a folder, a missing folder, a place that cannot be written, or one file for two options.
    """
    seen: dict[Path, str] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise ArgumentError(f"{option} must be a file in a folder that exists, got {str(path)!r}")
        try:
            if _written_whole(path):  # nobody waits at the other end, so that opening it does no harm
                with whole_file(path, keep=False) as unfinished:
                    unfinished.touch()
            if path.exists() and not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise ArgumentError(f"{option} must be writable, got {str(path)!r}: {error.strerror}") from None
        if (other := seen.setdefault(path.resolve(), option)) != option:
            raise ArgumentError(f"{option} must be another file than {other}, got {str(path)!r} for both")


@contextmanager
def whole_file(path: Path, keep: bool = True) -> Iterator[Path]:
    """Yield a path to write to, and make it `path` at the end: an error or a signal leaves what was there before.

    What is no plain file, such as /dev/stdout, is written directly. keep: False to leave nothing new in any case.
    """
    if not _written_whole(path):
        yield path
        return
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield unfinished
        if keep:
            unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _written_whole(path: Path) -> bool:
    """Return whether a new file may take the place of this one: of a pipe, a device or a link it may not."""
    return not path.is_symlink() and (path.is_file() or not path.exists())
