"""Errors whose message is one sentence for a person: what is wrong and what to do next."""


class InputError(ValueError):
    """The user's data, parameters or request cannot be used; the message says why in one sentence.

    Command-line tools print it and exit non-zero, services answer `success: false` with it.
    """


class MissingDependencyError(InputError):
    """An optional library is absent; the message says what to install."""


class NotReadyError(InputError):
    """The request came before the scene it needs exists; the message says what to call first."""


class NothingFound(InputError):
    """The work was done and found nothing; the message says what was looked at and what to try.

    Command-line tools end with exit status 3 after it.
    """


class Cancelled(Exception):
    """Raised out of long work by a progress callback that wants it to stop."""
