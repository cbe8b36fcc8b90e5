"""The jobs by name, and the clean-ups: features are entered here."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from service.accounts import accounts
from service.accounts.recovery import emails, links
from service.audit import events as security_events
from service.auth import sessions
from service.auth.api_keys import expiry
from service.auth.external import flows
from service.auth.passkeys import assertions
from service.auth.second_factor import locks, login_tokens, setup
from service.jobs import queue
from service.jobs.context import Handler
from service.notices import mails, notices
from service.posts import events, hidden_authors, posts, word_refresh
from service.settings import Settings
from service.web import idempotency

# Deletes some of what is past its time, in the session's transaction, and returns how much. It is
# called again until nothing is left.
Cleanup = Callable[[AsyncSession, datetime], Awaitable[int]]

# A mail each.
MAILS: Final[Mapping[str, Handler]] = {
    links.LINK_MAIL_JOB: emails.send_link,
    notices.NOTICE_JOB: mails.send_notice_mail,
    mails.EMAIL_CHANGE_JOB: mails.send_email_change,
}
HANDLERS: Final[Mapping[str, Handler]] = {
    **MAILS,
    links.RESET_REQUEST_JOB: emails.answer_reset_request,
    word_refresh.REFRESH_JOB: word_refresh.refresh_words,
    hidden_authors.HIDE_JOB: hidden_authors.hide_posts,
}


def cleanups(settings: Settings) -> Mapping[str, Cleanup]:
    """Return every clean-up by its name in the log."""
    retention = timedelta(days=settings.retention_days)
    return {
        "posts to hide": _older_than(hidden_authors.JOB_TIME, hidden_authors.hide_left_over),
        "posts": _older_than(retention, posts.delete_retired_posts),
        "sessions": sessions.delete_expired_sessions,
        "authenticator set-ups": setup.delete_expired_setups,
        "spent challenges": assertions.delete_expired_challenges,
        "login tokens": login_tokens.delete_expired_tokens,
        "sign-ins through providers": flows.delete_expired_flows,
        "wrong codes": _older_than(locks.MEMORY, locks.delete_old_locks),
        "ends of API keys, announced": expiry.warn_of_ends,
        "ends of API keys": expiry.report_ends,
        "API keys": _older_than(retention, expiry.delete_ended_keys),
        "mail links": links.delete_expired_links,
        "notice counts": notices.delete_old_counts,
        "job records": queue.delete_old_records,
        "idempotency keys": idempotency.delete_expired_keys,
        "security events": _older_than(
            timedelta(days=settings.security_events_days), security_events.delete_old_events
        ),
        "post events": _older_than(events.RETENTION, events.delete_old_events),
        "accounts in security events": _older_than(retention, accounts.anonymise_retired_accounts),
        # After all that belongs to them, of which some may be many.
        "accounts": _older_than(retention, accounts.delete_retired_accounts),
    }


def _older_than(age: timedelta, delete: Cleanup) -> Cleanup:
    async def cleanup(session: AsyncSession, now: datetime) -> int:
        return await delete(session, now - age)

    return cleanup
