"""When and from where API keys were last used, written once a minute for all keys of a process."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

import structlog
from sqlalchemy import Table, Text, Uuid, func, select, update

from service import clock
from service.auth.api_keys.models import ApiKey
from service.db.autocommit import Autocommit
from service.db.base import UtcDateTime
from service.db.query import CompiledWrite, sent_as_text

INTERVAL: Final = 60.0  # seconds
CLOSING: Final = 2.0  # seconds for the last write
NOTED_MAX: Final = 10_000  # keys; about 4 MB

log: Final = structlog.get_logger(__name__)

_table: Final = cast(Table, ApiKey.__table__)
_keys: Final = _table.c
_used: Final = (
    func.unnest(
        sent_as_text("ids", Uuid(as_uuid=True)),
        sent_as_text("times", UtcDateTime),
        sent_as_text("ips", Text()),
    )
    .table_valued("key_id", "used_at", "ip")
    .render_derived("used")
)
# In one order, because other processes write the same keys.
_locked: Final = (
    select(_keys.id, _used.c.used_at, _used.c.ip)
    .join_from(_table, _used, _keys.id == _used.c.key_id)
    .where(func.coalesce(_keys.last_used_at < _used.c.used_at, True))
    .order_by(_keys.id)
    .with_for_update(of=_table, key_share=True)
    .cte("locked")
)
_written: Final = (
    update(_table)
    .where(_keys.id == _locked.c.id)
    .values(last_used_at=_locked.c.used_at, last_used_ip=_locked.c.ip)
    .returning(_keys.id)
    .cte("written")
)
_WRITE: Final = CompiledWrite(select(func.count().label("keys")).select_from(_written))


class _Use(NamedTuple):
    """When and from where a key was used."""

    time: datetime
    ip: str | None


class KeyUses:
    """The last use of each key since the last write, NOTED_MAX keys at most."""

    def __init__(self, db: Autocommit, maximum: int = NOTED_MAX) -> None:
        self._db = db
        self._maximum = maximum
        self._uses: dict[UUID, _Use] = {}

    def note(self, key_id: UUID, time: datetime, ip: str | None) -> None:
        """Note that a key was used; what is beyond the maximum is left out."""
        if key_id in self._uses or len(self._uses) < self._maximum:
            self._uses[key_id] = _Use(time, ip)

    async def write(self) -> None:
        """Write what was noted, in one statement; after a failure it is kept for the next time."""
        uses, self._uses = self._uses, {}
        if not uses:
            return
        try:
            await self._db.write(_WRITE, _parameters(uses))
        except Exception as error:  # noqa: BLE001 - the next write tries again
            self._keep(uses)
            log.warning("uses of API keys not written", reason=type(error).__name__)
        except asyncio.CancelledError:
            self._keep(uses)
            raise

    def _keep(self, uses: Mapping[UUID, _Use]) -> None:
        for key_id, use in uses.items():
            if key_id not in self._uses:
                self.note(key_id, use.time, use.ip)

    @asynccontextmanager
    async def written(self) -> AsyncIterator[None]:
        """Write every INTERVAL until the block ends, and at its end."""
        task = asyncio.create_task(self._write_regularly())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task], timeout=CLOSING)
            # Waited for but not awaited: a frozen server would hold up its cancellation, too.
            last = asyncio.create_task(self.write())
            done, _ = await asyncio.wait([last], timeout=CLOSING)
            if not done:
                last.cancel()

    async def _write_regularly(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            await self.write()


def _parameters(uses: Mapping[UUID, _Use]) -> Mapping[str, Any]:
    return {
        "ids": [key_id.hex for key_id in uses],
        "times": [clock.rfc3339(use.time) for use in uses.values()],
        "ips": [use.ip for use in uses.values()],
    }
