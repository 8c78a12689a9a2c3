"""One request to Pixxel for a page: with a small answer, a short time, and words that anybody may read."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from pixxel_provider.api.errors import PixxelError, PixxelInputError, rebuild
from pixxel_provider.api.redaction import scrubbed
from pixxel_provider.hooks.pixxel import PixxelHook
from pixxel_provider.plugins.redaction import Redactor
from pixxel_provider.provider_info import CONNECTION_TYPE

if TYPE_CHECKING:
    from pixxel_provider.api.calls import Call
    from pixxel_provider.connection import Settings

T = TypeVar("T")

log = logging.getLogger(__name__)

#: Bytes of an answer that are read; a job of 1,000 tasks has about half a MiB.
ANSWER_LIMIT = 4 * 2**20
# The field of an error about a connection that isn't defined; that of any other names the connection.
_ID = "pixxel_conn_id"
_UNUSABLE = "isn't usable; the log of Airflow's API server says why"
# A page can say that Pixxel is slow; a thread that waits a minute serves nobody.
_CONNECT, _READ = 5.0, 15.0


class PageHook(PixxelHook):
    """Reads connections of type ``pixxel`` alone, and remembers what mustn't be shown."""

    def __init__(self, pixxel_conn_id: str) -> None:
        super().__init__(pixxel_conn_id)
        self.read: list[Settings] = []

    def _read(self) -> Settings:
        found = super()._read()
        # The API server may read all connections, and what a page shows is read by people who may read none.
        if found.conn_type != CONNECTION_TYPE:
            raise PixxelInputError(
                f"connection {found.conn_id!r}: conn_type",
                f"is {found.conn_type!r}, and the pages use connections of type {CONNECTION_TYPE!r} alone",
            )
        self.read.append(found)
        # Nobody waits longer for an answer than a page does.
        return replace(
            found,
            connect_timeout=min(found.connect_timeout, _CONNECT),
            read_timeout=min(found.read_timeout, _READ),
        )


def ask(conn_id: str, make: Callable[[], Call[T]]) -> tuple[Settings, Redactor, T]:
    """Send a call once, as the page asks again by itself.

    :returns: the connection's settings, what takes its key out of a text, and the answer.
    :raises PixxelError: there is no answer; its words may be shown.
    """
    call, hook = make(), PageHook(conn_id)
    try:
        answer = hook.send(replace(call, limit=ANSWER_LIMIT), retry_for=0)
        return hook.settings, Redactor.of(hook.read), answer
    except PixxelInputError as error:
        # Its words may quote the connection, and whoever may see a task need not be allowed to see that. Of
        # one that isn't defined nothing can be said.
        failure: PixxelError = error
        if error.field != _ID:
            log.warning("A page can't use a connection: %s", error)
            failure = PixxelInputError(error.field, _UNUSABLE)
    except PixxelError as error:
        failure = _presentable(error, Redactor.of(hook.read))
    finally:
        hook.close()
    # From here, as an error remembers what was handled where it was raised, and that the whole answer.
    raise failure


def _presentable(error: PixxelError, redact: Redactor) -> PixxelError:
    def clean(text: str) -> str:
        return redact.shown(text)

    fields = error.fields()
    return rebuild(
        {**{name: scrubbed(value, clean) for name, value in fields.items()}, "type": fields["type"]}
    )
