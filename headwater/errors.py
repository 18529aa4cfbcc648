"""Errors that are meant for the person at the keyboard.

A `HeadwaterError` says what is wrong and the way out, so a main program shows its text and no
traceback; any other exception is a bug and keeps its traceback.
"""

import sys
from collections.abc import Callable
from typing import ClassVar


class HeadwaterError(Exception):
    """What a user can put right; its text is complete without a traceback."""

    exit_code: ClassVar[int] = 1


class SettingsError(HeadwaterError):
    """A setting is unknown or has a wrong value."""

    exit_code = 2


class BrokerError(HeadwaterError):
    """The Kafka broker cannot be started, found or stopped."""


def run_main(main: Callable[[], int]) -> None:
    """Run a main program and exit with its code, showing a `HeadwaterError` as one message."""
    try:
        sys.exit(main())
    except HeadwaterError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
