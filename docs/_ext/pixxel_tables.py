"""Directives and a role that write parts of the pages from the package itself, so that both agree."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole

from pixxel_provider.api import calls, errors, polling, retry, status, truncation
from pixxel_provider.hooks import protocol
from pixxel_provider.provider_info import CONNECTION_FIELDS

ROOT = Path(__file__).resolve().parents[2]
CHANGELOG = ROOT / "CHANGELOG.md"


class Written(SphinxDirective):
    """A directive whose content is reStructuredText that :meth:`lines` makes."""

    def lines(self) -> Iterable[str]:
        """Return the lines to put in the directive's place."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Parse those lines where the directive stands."""
        # What a page is made from isn't known to Sphinx: write it anew in every build.
        self.env.note_reread()
        return self.parse_text_to_nodes("\n".join(self.lines()), allow_section_headings=True)


def table(widths: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    """Write a list-table."""
    yield from (".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", "")
    for row in (head, *rows):
        for number, cell in enumerate(row):
            yield f"   {'* -' if number == 0 else '  -'} {cell}".rstrip()


class TestRole(SphinxRole):
    """A test, by file and name (``tests/test_x.py::test_y``): shown as words, and missed if it is gone."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the test's name as a sentence, and its file."""
        file, _, name = self.text.partition("::")
        path = ROOT / file
        if not path.exists() or f"def {name}(" not in path.read_text(encoding="utf-8"):
            message = self.inliner.reporter.error(f"there is no test {self.text}", line=self.lineno)
            return [], [message]
        words = name.removeprefix("test_").replace("_", " ")
        return [nodes.Text(f"{words} ("), nodes.literal(text=Path(file).name), nodes.Text(")")], []


class StormRole(SphinxRole):
    """A step of the last storm, by the words of its table: missed if that storm hadn't it."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the words."""
        table = ROOT / "docs" / "storm-figures.inc"
        if f"     - {self.text}\n" not in table.read_text(encoding="utf-8"):
            message = self.inliner.reporter.error(f"the storm has no step {self.text}", line=self.lineno)
            return [], [message]
        return [nodes.inline("", f"the storm: {self.text}")], []


class ConnectionFields(Written):
    """The extras of the connection."""

    def lines(self) -> Iterable[str]:
        """Write one row for each extra."""
        units = {"integer": "seconds", "string": "text", "boolean": "true or false"}
        return table(
            "21 13 23 43",
            ("extra", "kind", "default", "meaning"),
            (
                (f"``{field.name}``", units[field.kind], _value(field.default), _prose(field.description))
                for field in CONNECTION_FIELDS
            ),
        )


class StatusWords(Written):
    """The table of statuses."""

    def lines(self) -> Iterable[str]:
        """Write one row for each meaning."""
        kinds = (
            ("the job succeeded", status.SUCCESS_WORDS),
            ("the job failed", status.FAILURE_WORDS),
            ("keep waiting, without a warning", status.WAITING_WORDS),
        )
        rows = [(meaning, ", ".join(f"``{word}``" for word in sorted(words))) for meaning, words in kinds]
        rows.append(("keep waiting, with a warning; an error once ``finished_at`` is set", "everything else"))
        return table("35 65", ("what it means", "status"), rows)


class ErrorClasses(Written):
    """The tree of errors, and which of them are transient."""

    def lines(self) -> Iterable[str]:
        """Write one row for each class, below its parent."""
        return table("40 15 45", ("class", "transient?", "meaning"), self._rows(errors.PixxelError, 0))

    def _rows(self, kind: type[errors.PixxelError], depth: int) -> Iterable[tuple[str, str, str]]:
        indent = " ".join(["|gap|"] * depth + [""]) if depth else ""
        words = (kind.__doc__ or "").strip().split("\n\n")[0].split()
        transient = "yes" if kind.transient else "no"
        yield (f"{indent}:class:`~{kind.__module__}.{kind.__name__}`", transient, " ".join(words))
        for child in kind.__subclasses__():
            yield from self._rows(child, depth + 1)


class XComExample(Written):
    """The metadata of one of the simulator's jobs, as it goes to XCom."""

    def lines(self) -> Iterable[str]:
        """Write the JSON; long lists of tasks are cut for the page."""
        # Not at the top: the simulator is an extra, and only this page needs it.
        from pixxel_provider.api.job import Job
        from pixxel_provider.simulator.clock import SimulatedClock, frozen
        from pixxel_provider.simulator.world import World

        world = World(clock=SimulatedClock(frozen()), seed=1)
        found = Job.read(world.full(world.job("wf-succeeds", "job-finished"))).metadata()
        cut = len(found["tasks"]) - 1
        found["tasks"] = found["tasks"][:1]
        written = json.dumps(found, indent=2).splitlines()
        yield from (".. code-block:: json", "", *(f"   {line}" for line in written), "")
        yield f"(Of the {cut + 1} tasks, one is shown.)"


class SimulatorFields(Written):
    """What a fault or a package of the simulator can be given, from the models' own descriptions."""

    required_arguments = 1

    def lines(self) -> Iterable[str]:
        """Write one row for each field."""
        from pixxel_provider.simulator.faults import Fault
        from pixxel_provider.simulator.packages import PackagePlan

        model = {"faults": Fault, "packages": PackagePlan}[self.arguments[0]]
        rows = ((f"``{name}``", text) for name, text in model.descriptions().items())
        return table("26 74", ("field", "meaning"), rows)


class Changelog(Written):
    """CHANGELOG.md from its first version on, as reStructuredText."""

    def lines(self) -> Iterable[str]:
        """Turn headings, lists, code and links of Markdown into those of reStructuredText."""
        text = CHANGELOG.read_text(encoding="utf-8")
        _, found, text = text.partition("\n## ")
        for line in f"{found}{text}".strip().splitlines():
            heading = re.match(r"(#{2,3}) (.*)", line)
            if heading:
                title = heading[2].replace("[", "").replace("]", "")
                yield from (title, ("-" if len(heading[1]) == 2 else "~") * len(title), "")
            else:
                line = re.sub(r"`([^`]+)`", r"``\1``", line)
                yield re.sub(r"\[([^\]]+)\]\(([^)]+)\)", r"`\1 <\2>`__", line)


def _value(value: object) -> str:
    if value == "":
        return "empty"
    return f"``{json.dumps(value) if isinstance(value, bool) else value}``"


def _prose(words: str) -> str:
    # What stands in braces is a placeholder to be typed as it is; what is in capitals, a variable.
    return re.sub(r"(\{\w+\}|\b[A-Z]+(?:_[A-Z]+)+\b)", r"``\1``", words)


def figures() -> dict[str, str]:
    """Return the numbers that pages name, from where the code keeps them."""
    from pixxel_provider import poller
    from pixxel_provider.job_creation import reconcile
    from pixxel_provider.plugins import client, job_batch
    from pixxel_provider.triggers import start_from_trigger
    from pixxel_provider.waiting import base, sensor

    seconds = {
        "retry_for": retry.RETRY_FOR,
        "longest_pause": retry.LONGEST_PAUSE,
        "shortest_gap": polling.SHORTEST_DELAY,
        "poke_interval": polling.WaitPlan.poke_interval,
        "not_found_grace": polling.WaitPlan.not_found_grace,
        "slack": base._SLACK,
        "rendering": start_from_trigger.RENDERING,
        "running_lasts": client.RUNNING_LASTS,
        "ended_lasts": client.ENDED_LASTS,
        "list_lasts": client.LIST_LASTS,
        "estimate_lasts": client.ESTIMATE_LASTS,
    }
    return {
        **{name: f"{value:g} s" for name, value in seconds.items()},
        "longest_retry_after": f"{retry.LONGEST_RETRY_AFTER / 60:g} minutes",
        "longest_quiet": f"{poller.RETRY_AFTER_LIMIT / 60:g} minutes",
        "longest_stay": f"{sensor.LONGEST_STAY / 60:g} minutes",
        "clock_skew": f"{reconcile.CLOCK_SKEW / 60:g} minutes",
        "metadata_limit": f"{truncation.METADATA_LIMIT // 1024} KiB",
        "answer_limit": f"{calls.ANSWER_LIMIT // 2**20} MiB",
        "user_agent": f"``{protocol.USER_AGENT}``",
        "redirects": str(protocol.REDIRECTS),
        "from_list": str(job_batch.FROM_LIST),
        "most_requests": str(job_batch.MAX_REQUESTS),
    }


def _prolog(_: Sphinx, config: Any) -> None:
    lines = [f".. |{name}| replace:: {value}" for name, value in figures().items()]
    config.rst_prolog = "\n".join([".. |gap| unicode:: 0xA0 0xA0 0xA0 0xA0", *lines, ""])


def _signature(
    _: Sphinx, _what: str, _name: str, _object: Any, _options: Any, words: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    # Dataclasses write defaults that aren't Python, and Sphinx then shows the signature raw.
    return re.sub(r"<[^<>]*>", "...", words) if words else words, returns


def setup(app: Sphinx) -> dict[str, Any]:
    """Make the directives and the role known to Sphinx."""
    for name, kind in (
        ("connection-fields", ConnectionFields),
        ("status-words", StatusWords),
        ("error-classes", ErrorClasses),
        ("xcom-example", XComExample),
        ("changelog", Changelog),
        ("simulator-fields", SimulatorFields),
    ):
        app.add_directive(name, kind)
    app.add_role("test", TestRole())
    app.add_role("storm", StormRole())
    app.connect("config-inited", _prolog)
    app.connect("autodoc-process-signature", _signature)
    return {"version": "1", "parallel_read_safe": True}
