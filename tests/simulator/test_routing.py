from __future__ import annotations

from typing import Any

import pytest

from pixxel_provider.simulator.routing import decode, match, raw_path


@pytest.mark.parametrize(
    ("scope", "path"),
    [
        ({"raw_path": b"/a%2Fb", "path": "/a/b"}, "/a%2Fb"),
        ({"raw_path": b"/a?x=1", "path": "/a"}, "/a"),
        ({"raw_path": b"http://host:1/a/b", "path": "/a/b"}, "/a/b"),
        ({"raw_path": b"http://host", "path": ""}, "/"),
        ({"path": "/a b"}, "/a%20b"),
    ],
)
def test_the_raw_path_is_read_from_each_kind_of_server(scope: dict[str, Any], path: str) -> None:
    assert raw_path(scope) == path


def test_a_path_is_split_before_it_is_decoded() -> None:
    assert match("GET", "/v0/workflows/a%2Fjobs") == ("get_workflow", {"workflow_id": "a/jobs"})
    assert match("GET", "/v0/workflows//jobs") == ("unmatched", {})
    assert match("PUT", "/v0/workflows") == ("unmatched", {})
    assert decode("%E9") == "\ufffd"
