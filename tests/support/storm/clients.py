"""Clients of every kind, each going on by chance until it is stopped."""

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import Final

from tests.support.storm.history import Call, Outcome
from tests.support.storm.recorder import Recorder

PASSWORD: Final = "correct horse battery staple"
PAUSE: Final = 0.15  # seconds between two calls of a client, at most
# Attempts to learn what became of a call.
ATTEMPTS: Final = 4


@dataclass
class Account:
    """An account that several clients use: its token, and its posts with their tags."""

    email: str
    token: str = ""
    posts: dict[str, str] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)

    @property
    def credentials(self) -> dict[str, str]:
        """The body of a login."""
        return {"email": self.email, "password": PASSWORD}


@dataclass
class Client:
    """One client; what it writes has marks that no other client writes."""

    name: str
    account: Account
    recorder: Recorder
    random: Random
    stop: asyncio.Event
    written: int = 0

    def mark(self) -> str:
        """A new mark."""
        self.written += 1
        return f"{self.name}-{self.written}"

    async def run(self) -> None:
        """Do one thing after the other until the storm is over."""
        while not self.stop.is_set():
            await self.act()
            await asyncio.sleep(self.random.random() * PAUSE)

    async def act(self) -> None:
        """Do one thing."""
        raise NotImplementedError

    async def log_in(self) -> Call:
        """Open a session."""
        return await self.recorder.call("login", "POST", "/auth/login", self.account.credentials)

    async def renew(self) -> None:
        """Get the account a token that is taken; another client may have been faster."""
        call = await self.log_in()
        if call.outcome is Outcome.DONE:
            self.account.token = call.answer["access_token"]


class Writer(Client):
    """Creates, changes, deletes and restores posts of an account."""

    async def act(self) -> None:
        if not self.account.token:
            await self.renew()
            return
        known = sorted(self.account.posts)
        if not known or self.random.random() < 0.4:
            await self.random.choice((self._create_once, self.create_with_key))()
            return
        action = self.random.choices((self.edit, self.delete, self.restore), (6, 1, 1))[0]
        await action(self.random.choice(known))

    async def _create_once(self) -> None:
        await self.create()

    async def create(self, mark: str = "", key: str = "") -> Call:
        """Create a post."""
        mark = mark or self.mark()
        call = await self.recorder.call(
            "create",
            "POST",
            "/api/posts",
            {"title": mark, "content": "of a storm"},
            token=self.account.token,
            headers={"Idempotency-Key": key} if key else {},
            mark=mark,
            key=key,
        )
        self._took(call)
        return call

    async def create_with_key(self) -> None:
        """Create a post, and ask again with the same key: at once, or for want of an answer."""
        mark = self.mark()
        if self.random.random() < 0.2:
            await asyncio.gather(self.create(mark, mark), self.create(mark, mark))
        for _ in range(ATTEMPTS):
            call = await self.create(mark, mark)
            if call.outcome is Outcome.DONE and self.random.random() < 0.7:
                return

    async def edit(self, post_id: str) -> None:
        """Change the version at hand, and ask again without a condition for want of an answer."""
        mark = self.mark()
        call = await self._change(post_id, mark, self.account.posts[post_id])
        for _ in range(ATTEMPTS):
            if call.outcome is not Outcome.UNKNOWN:
                break
            call = await self._change(post_id, mark)
        if call.status == 412:
            read = await self.recorder.call("read", "GET", f"/api/posts/{post_id}")
            if read.outcome is Outcome.DONE:
                self.account.posts[post_id] = read.answer["tag"]

    async def _change(self, post_id: str, mark: str, tag: str = "") -> Call:
        call = await self.recorder.call(
            "edit",
            "PATCH",
            f"/api/posts/{post_id}",
            {"title": mark},
            token=self.account.token,
            headers={"If-Match": tag} if tag else {},
            mark=mark,
            subject=post_id,
        )
        self._took(call)
        return call

    async def delete(self, post_id: str) -> None:
        """Delete a post."""
        path = f"/api/posts/{post_id}"
        call = await self.recorder.call(
            "delete", "DELETE", path, token=self.account.token, subject=post_id
        )
        if call.outcome is Outcome.DONE:
            self.account.deleted.add(post_id)

    async def restore(self, post_id: str) -> None:
        """Restore a post that was deleted, or one that may have been."""
        post_id = self.random.choice(sorted(self.account.deleted) or [post_id])
        path = f"/api/posts/{post_id}/restore"
        call = await self.recorder.call(
            "restore", "POST", path, token=self.account.token, subject=post_id
        )
        if call.outcome is Outcome.DONE:
            self.account.deleted.discard(post_id)

    def _took(self, call: Call) -> None:
        if call.status == 401:
            self.account.token = ""
        if call.outcome is Outcome.DONE:
            self.account.posts[call.answer["id"]] = call.answer["tag"]


class Visitor(Client):
    """Logs in, refreshes its token several times at once, uses it, logs out, and tries again."""

    async def act(self) -> None:
        call = await self.log_in()
        if call.outcome is not Outcome.DONE:
            return
        session, refresh = call.answer["session_id"], call.answer["refresh_token"]
        access = call.answer["access_token"]
        for _ in range(self.random.randrange(4)):
            racing = [self._refresh(session, refresh) for _ in range(self.random.randrange(1, 4))]
            for done in await asyncio.gather(*racing):
                if done.outcome is Outcome.DONE:
                    refresh, access = done.answer["refresh_token"], done.answer["access_token"]
            await self._use(session, access)
        if self.random.random() < 0.7:
            await self.recorder.call(
                "revoke", "POST", "/auth/logout", token=access, subject=session
            )
            await asyncio.gather(self._use(session, access), self._refresh(session, refresh))

    async def _refresh(self, session: str, token: str) -> Call:
        return await self.recorder.call(
            "refresh", "POST", "/auth/refresh", token=token, subject=token, key=session
        )

    async def _use(self, session: str, token: str) -> Call:
        return await self.recorder.call("use", "GET", "/auth/me", token=token, subject=session)


class Newcomer(Client):
    """Registers accounts."""

    async def act(self) -> None:
        email = f"{self.mark()}@example.com"
        for _ in range(ATTEMPTS):
            call = await self.recorder.call(
                "register",
                "POST",
                "/auth/register",
                {"email": email, "password": PASSWORD},
                mark=email,
            )
            if call.outcome is not Outcome.UNKNOWN:
                break
        await asyncio.sleep(self.random.random() * 2)
