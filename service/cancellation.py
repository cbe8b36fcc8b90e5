"""Cancellation that an error has taken the place of."""

import asyncio


def end_if_cancelled() -> None:
    """Raise CancelledError if this task is to end, whatever error it was told instead.

    A driver that is cancelled as its connection is lost raises the loss: whoever then tries again
    would do so for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
