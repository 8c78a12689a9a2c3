"""One request to Pixxel for a page: with a small answer, a short timeout, and messages that may be shown."""

from __future__ import annotations

import logging
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
# The field of an error about a connection that isn't defined; any other names the connection.
_ID = "pixxel_conn_id"
_UNUSABLE = "isn't usable; the reason is in the log of Airflow's API server"
# A page can show that Pixxel is slow; a thread that waits a minute is of no use.
_CONNECT, _READ = 5.0, 15.0


class PageHook(PixxelHook):
    """Reads connections of type ``pixxel`` only, and knows what has to be redacted."""

    def __init__(self, pixxel_conn_id: str) -> None:
        super().__init__(pixxel_conn_id)
        self.read: list[Settings] = []

    def _read(self) -> Settings:
        settings = super()._read()
        # The API server may read all connections, but the page's readers may not.
        if settings.conn_type != CONNECTION_TYPE:
            raise PixxelInputError(
                f"connection {settings.conn_id!r}: conn_type",
                f"is {settings.conn_type!r}, and the pages only use connections of type {CONNECTION_TYPE!r}",
            )
        self.read.append(settings)
        # No timeout is longer than a page waits.
        return replace(
            settings,
            connect_timeout=min(settings.connect_timeout, _CONNECT),
            read_timeout=min(settings.read_timeout, _READ),
        )


def request(conn_id: str, call: Call[T]) -> tuple[Settings, Redactor, T]:
    """Send a call once, as the page refreshes by itself.

    :returns: the connection's settings, the redaction of its key, and the answer.
    :raises PixxelError: there is no answer; the message may be shown.
    """
    hook = PageHook(conn_id)
    try:
        answer = hook.send(replace(call, limit=ANSWER_LIMIT), retry_for=0)
        return hook.settings, Redactor.of(hook.read), answer
    except PixxelInputError as error:
        # Its message may quote the connection, which a user who may see the task may not be allowed to see.
        # If it isn't defined, there is nothing to quote.
        failure: PixxelError = error
        if error.field != _ID:
            log.warning("A page can't use a connection: %s", error)
            failure = PixxelInputError(error.field, _UNUSABLE)
    except PixxelError as error:
        fields, redact = error.fields(), Redactor.of(hook.read).shown
        redacted = {name: scrubbed(value, redact) for name, value in fields.items()}
        failure = rebuild({**redacted, "type": fields["type"]})
    finally:
        hook.close()
    # Outside the handling of the call: an error would keep the whole answer as its context.
    raise failure
