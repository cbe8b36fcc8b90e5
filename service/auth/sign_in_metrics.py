"""The counters of logins, of wrong codes and of locks, of one application."""

from collections import Counter
from itertools import product
from typing import Final

from service.auth.errors import AccountDisabled, LoginIncomplete
from service.errors import Unauthorized
from service.web.server.application import Service

SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
INCOMPLETE: Final = "second_factor_required"
DISABLED: Final = "account_disabled"
METHODS: Final = ("password", "external", "totp", "passkey", "recovery_code")
OUTCOMES: Final = (SUCCEEDED, FAILED, INCOMPLETE, DISABLED)


class SignInCounters:
    """Counts logins by the method that was shown last and their outcome; wrong codes; locks."""

    def __init__(self) -> None:
        self.logins: Counter[tuple[str, ...]] = Counter(
            dict.fromkeys(product(METHODS, OUTCOMES), 0)
        )
        self.wrong_codes: Counter[tuple[str, ...]] = Counter({("totp",): 0, ("recovery_code",): 0})
        self.locks = 0


class LoginCount:
    """Counts the login that is in its block, by how the block ends.

    What passes, such as a limit or a database that does not answer, is not counted.
    """

    def __init__(self, counters: SignInCounters, method: str) -> None:
        self._logins = counters.logins
        self._method = method

    def __enter__(self) -> None:
        """Begin to watch."""

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        """Count the end."""
        if error is None:
            self._logins[self._method, SUCCEEDED] += 1
        elif isinstance(error, LoginIncomplete):
            self._logins[self._method, INCOMPLETE] += 1
        elif isinstance(error, AccountDisabled):
            self._logins[self._method, DISABLED] += 1
        elif isinstance(error, Unauthorized):
            self._logins[self._method, FAILED] += 1


def init_app(app: Service) -> None:
    """Count an application's logins, and show the counters among its metrics."""
    counters = SignInCounters()
    app.add_component(counters)
    app.metrics.add_counter(
        "logins",
        "Logins by the method that was shown last, and how they ended.",
        ("method", "outcome"),
        lambda: counters.logins,
    )
    app.metrics.add_counter(
        "second_factor_wrong_codes",
        "Wrong codes, at logins and at step-ups.",
        ("method",),
        lambda: counters.wrong_codes,
    )
    app.metrics.add_counter(
        "second_factor_locks", "Locks of an account's codes.", (), lambda: {(): counters.locks}
    )
