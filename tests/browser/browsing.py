"""A tab of the browser, which records everything that must not happen in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.base import AXE_SCRIPT

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "build" / "screenshots"
WIDE, NARROW = (1400, 900), (360, 740)
#: The addresses of our app, in which nothing at all may go wrong.
OURS = re.compile(r"/pixxel(/|$)")

# In every frame before its own scripts; an about:blank has no storage.
_BEFORE = """
(() => {
  document.addEventListener("securitypolicyviolation", (event) => {
    console.error(`policy violated: ${event.violatedDirective} ${event.blockedURI}`);
  });
  try {
    localStorage.setItem("theme", "%s");
    localStorage.setItem("timezone", JSON.stringify("%s"));
  } catch (error) { /* no storage here */ }
})();
"""

# What a click on one of Airflow's own links comes to, without loading all of its scripts anew.
_GO = """path => {
  history.pushState({}, "", path);
  dispatchEvent(new PopStateEvent("popstate", { state: {} }));
}"""


@dataclass
class Visit:
    """A tab of the browser. At its end, ``problems`` has to be empty."""

    page: Any
    url: str
    errors: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    #: Parts of console messages that a test expects.
    expected: list[str] = field(default_factory=list)
    _is_loaded: bool = False

    def __post_init__(self) -> None:
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))
        self.page.on("dialog", self._on_dialog)
        self.page.on("request", lambda request: self.requests.append(request.url))

    def _on_console(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location['url']})")

    def _on_dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def problems(self) -> list[str]:
        """Return whatever went wrong."""
        host = urlsplit(self.url).netloc
        away = [
            f"a request to another host: {url}"
            for url in self.requests
            if urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).netloc != host
        ]
        said = [f"in the console: {text}" for text in self.errors if not self._is_expected(text)]
        asked = [f"a dialog: {text}" for text in self.dialogs]
        return [*away, *said, *asked]

    def _is_expected(self, text: str) -> bool:
        return any(words in text for words in self.expected)

    def open(self, address: str) -> Any:
        """Open one of our pages by itself; return it."""
        self.page.goto(self.url + address)
        return self.page

    def go(self, address: str) -> None:
        """Open a page of Airflow's UI: where that is loaded already, the way its own links do it."""
        if not self._is_loaded:
            self.page.goto(self.url + address)
            self._is_loaded = True
            return
        self._leave()
        self._follow(address)

    def _follow(self, address: str) -> None:
        self.page.evaluate(_GO, urlsplit(self.url).path + address)

    def _leave(self) -> None:
        # To a page without a frame, so that the next frame is a new one.
        self._follow("/dags")
        self.page.locator("iframe").wait_for(state="detached")

    def open_in_airflow(self, address: str, title: str = "Pixxel job") -> Any:
        """Open a page of Airflow that holds one of ours; return ours."""
        self.go(address)
        return self.inside(title)

    def click_the_tab(self, address: str) -> Any:
        """Open Airflow's page of a task instance and click our tab; return our page."""
        self.go(address)
        # Airflow's button of the same name leads to Pixxel's console.
        self.page.locator('a[href$="/plugin/pixxel-job"]').click()
        return self.inside()

    def reset(self) -> None:
        """Clear what was recorded, and what our pages store in the tab."""
        if self._is_loaded:
            self._leave()
            self.page.evaluate("sessionStorage.clear()")
        for each in (self.errors, self.dialogs, self.requests, self.expected):
            each.clear()

    def inside(self, title: str = "Pixxel job") -> Any:
        """Return our page in the one of Airflow that is open."""
        frame = self.page.wait_for_selector(f'iframe[title="{title}"]').content_frame()
        frame.wait_for_selector("h1")
        return frame

    def own_requests(self) -> list[str]:
        """Return the requests to our app, without their host."""
        return [path for path in (urlsplit(url).path for url in self.requests) if OURS.search(path)]

    def data_requests(self) -> int:
        """Return how often the page has requested its data."""
        return sum(path.endswith("/data") for path in self.own_requests())

    def picture(self, name: str) -> None:
        """Keep what is to be seen now."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{name}.png")


def unfold(frame: Any, most: int = 10) -> None:
    """Open the details of tasks, and the raw metadata."""
    folded = frame.locator("button[aria-expanded=false]")
    for _ in range(min(most, folded.count())):
        folded.first.click()
    if frame.locator("summary").count():
        frame.locator("summary").click()
        frame.locator("details pre", has_text='"id"').wait_for()


Visitor = Callable[..., Visit]


def before(theme: str, zone: str) -> str:
    """Return the script that prepares a frame: Airflow's own settings, and an ear for the policy."""
    return _BEFORE % (theme, zone)


def overflow(frame: Any) -> int:
    """Return by how many pixels a page is wider than what shows it."""
    return int(frame.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def violations(frame: Any, *rules: str) -> list[str]:
    """Return the violations of accessibility that axe finds, as texts.

    :param rules: the rules of axe that are checked; all of them unless named.
    """
    if frame.evaluate("typeof axe") == "undefined":
        frame.evaluate(AXE_SCRIPT)
    options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
    found = frame.evaluate("options => axe.run(document, options)", options)
    return [
        f"{each['id']} ({each['impact']}): {each['help']}: "
        + "; ".join(f"{node['html'][:160]} [{_why(node)}]" for node in each["nodes"][:4])
        for each in found["violations"]
    ]


def violations_in_both_themes(page: Any) -> list[str]:
    """Return those in the light theme, and those of contrast in the dark one."""
    found = violations(page)
    page.evaluate("document.documentElement.className = 'dark'")
    return found + [f"in the dark: {each}" for each in violations(page, "color-contrast")]


def _why(node: dict[str, Any]) -> str:
    checks = [*node["any"], *node["all"], *node["none"]]
    return ", ".join(check["message"] for check in checks)
