"""Bodies: times as the contract writes them."""

import json
from datetime import UTC, datetime

import pytest

from service.web.responses import dumps

MOMENT = datetime(2026, 11, 22, 10, 0, 0, 123456, UTC)


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (MOMENT, "2026-11-22T10:00:00.123456Z"),
        (MOMENT.replace(microsecond=0), "2026-11-22T10:00:00.000000Z"),
        (MOMENT.replace(microsecond=120), "2026-11-22T10:00:00.000120Z"),
    ],
)
def test_times_are_written_with_microseconds(moment: datetime, written: str) -> None:
    assert json.loads(dumps({"other": MOMENT, "list": [{"at": moment}]})) == {
        "other": "2026-11-22T10:00:00.123456Z",
        "list": [{"at": written}],
    }


def test_text_in_another_form_is_not_read_as_a_time() -> None:
    text = {"title": '"2026-11-22T10:00:00Z"', "content": "2026-11-22T10:00:00Z"}
    assert json.loads(dumps(text)) == text
