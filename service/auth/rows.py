"""The rows of accounts and login sessions, as protocols of the columns that code reads by name."""

from datetime import datetime
from typing import Protocol
from uuid import UUID

from service.db.base import MappedRow


class AccountNames(Protocol):
    """An account and its names."""

    @property
    def id(self) -> UUID: ...
    @property
    def email(self) -> str: ...
    @property
    def username(self) -> str: ...


class UserRow(AccountNames, MappedRow, Protocol):
    """An account as it is shown, to its owner or to operators."""

    @property
    def is_active(self) -> bool: ...
    @property
    def is_admin(self) -> bool: ...
    @property
    def email_verified(self) -> bool: ...


class PasswordState(Protocol):
    """An account, and when its password last changed."""

    @property
    def id(self) -> UUID: ...
    @property
    def password_changed_at(self) -> datetime: ...


class SignInState(PasswordState, Protocol):
    """An account as a login found it."""

    @property
    def sign_in_epoch(self) -> int: ...


class PasswordRow(SignInState, Protocol):
    """An account and the hash of its password."""

    @property
    def password_hash(self) -> str: ...


class CredentialsRow(UserRow, PasswordRow, Protocol):
    """An account as it is shown, the hash of its password, and what a login needs."""

    @property
    def second_factor_at(self) -> datetime | None: ...


class SessionRow(MappedRow, Protocol):
    """A login session as it is shown to its owner."""

    @property
    def id(self) -> UUID: ...


class RefreshRow(SessionRow, Protocol):
    """A login session with its refresh tokens, and the state of its account."""

    @property
    def user_id(self) -> UUID: ...
    @property
    def token_id(self) -> UUID: ...
    @property
    def token_issued_at(self) -> datetime: ...
    @property
    def previous_token_id(self) -> UUID | None: ...
    @property
    def rotated_at(self) -> datetime | None: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def expires_at(self) -> datetime: ...
    @property
    def ended_at(self) -> datetime | None: ...
    @property
    def is_active(self) -> bool: ...
    @property
    def deleted_at(self) -> datetime | None: ...
