"use strict";
// What both pages share: rendering, texts for numbers and times, links, and the refresh.
// The scripts of a page share one scope, which no other script uses: no wrappers, no exports.
const base = document.documentElement.dataset.root.replace(/\/pixxel$/, "") + "/";

// ---- Rendering. A page is described anew each time and compared with the document: only differences change
// it, so focus, selection, scroll position and open details survive. Text only ever becomes text nodes.

const propsOf = new WeakMap(); // element -> the props it was given

// Explicit, since tables that are laid out as blocks lose their roles.
const ROLES = {
  table: "table", thead: "rowgroup", tbody: "rowgroup", tr: "row", th: "rowheader", td: "cell",
};

function h(tag, props, ...children) {
  return { tag, props: { role: ROLES[tag], ...props }, children: children.flat(9).filter(Boolean) };
}

// Names with "--" carry measures to the stylesheet: a style attribute isn't allowed here.
function setProps(element, props) {
  const was = propsOf.get(element) ?? {};
  for (const name of Object.keys({ ...was, ...props })) {
    const value = props[name];
    if (value === was[name] || name === "key") continue;
    if (name.startsWith("on")) element[name] = value;
    else if (name.startsWith("--")) element.style.setProperty(name, value ?? null);
    else if (value == null || value === false) element.removeAttribute(name);
    else element.setAttribute(name, value);
  }
  propsOf.set(element, props);
}

// The nodes that can be reused, first one last, by tag and key.
function reusable(parent) {
  const free = new Map();
  for (const node of [...parent.childNodes].reverse()) {
    const name = `${node.nodeName.toLowerCase()} ${propsOf.get(node)?.key}`;
    if (!free.get(name)?.push(node)) free.set(name, [node]);
  }
  return free;
}

function patch(parent, children) {
  const free = reusable(parent);
  const nodes = children.map((child) => {
    if (typeof child !== "object") {
      const node = free.get("#text undefined")?.pop() ?? document.createTextNode("");
      if (node.data !== String(child)) node.data = child;
      return node;
    }
    const { tag, props, children: inner } = child;
    const element = free.get(`${tag} ${props.key}`)?.pop() ?? document.createElement(tag);
    setProps(element, props);
    patch(element, inner);
    return element;
  });
  // First the removals, so that the nodes that stay needn't move.
  for (const rest of free.values()) for (const node of rest) node.remove();
  let here = parent.firstChild;
  for (const node of nodes) {
    if (node === here) here = here.nextSibling;
    else parent.insertBefore(node, here);
  }
}

function draw(parent, ...children) {
  const focused = document.activeElement;
  patch(parent, h("", null, children).children);
  if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
}

// ---- Times, in the time zone that is set in Airflow.

function zone() {
  try {
    return JSON.parse(localStorage.getItem("timezone")) || undefined;
  } catch {
    return undefined;
  }
}

const formats = new Map();

// The Swedish format is Airflow's: "2026-11-24 04:00:00".
function format(timeZone) {
  try {
    return new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium", timeZone });
  } catch {
    return format(); // a zone this browser doesn't know
  }
}

function stamp(ms, timeZone = zone()) {
  if (!formats.has(timeZone)) formats.set(timeZone, format(timeZone));
  return formats.get(timeZone).format(ms);
}

const timeOfDay = (ms) => stamp(ms).slice(11);

// The zone's offset from UTC at that moment.
const zoneOffset = (ms) => Date.parse(stamp(ms).replace(" ", "T") + "Z") - Math.floor(ms / 1000) * 1000;

function moment(text) {
  const ms = typeof text === "string" ? Date.parse(text) : NaN;
  return Number.isNaN(ms) ? null : ms;
}

function time(ms, words) {
  if (ms === null) return null;
  const datetime = new Date(ms).toISOString();
  return h("time", { datetime, title: `${stamp(ms, "UTC")} UTC` }, words ?? stamp(ms));
}

function duration(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  const days = Math.floor(s / 86400);
  return (days ? `${days}d` : "") + new Date(s * 1000).toISOString().slice(11, 19);
}

// "3 min", for sentences.
function span(ms) {
  const minutes = Math.round(ms / 60000);
  if (minutes < 1) return "under 1 min";
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

// ---- Numbers and texts.

const amount = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);
const text = (value) => (typeof value === "object" && value ? JSON.stringify(value) : String(value ?? ""));

// Rounded down: 100 % is shown when it is reached, not before.
function percent(value) {
  return number(value) === null ? null : Math.floor(Math.min(100, Math.max(0, value)));
}

function cost({ cost: spent, estimated_cost: estimate, meaning }, unit) {
  const [paid, about] = [number(spent), number(estimate)];
  const credits = (n) => amount.format(n) + (unit ? (n === 1 ? " credit" : " credits") : "");
  if (paid === null) return about === null ? "" : `about ${credits(about)}`;
  if (about === null) return credits(paid);
  if (meaning === "waiting") return `${amount.format(paid)} of about ${credits(about)}`;
  return `${credits(paid)}, estimated ${amount.format(about)}`;
}

const TONES = { succeeded: "success", failed: "failed", unclear: "up_for_retry" };

// Airflow's colour for a Pixxel status: all that waits without running is shown as queued.
function tone(meaning, status) {
  return TONES[meaning] ?? (text(status).toLowerCase() === "running" ? "running" : "queued");
}

const badge = (words, colour) => words && h("span", { class: "badge", "data-tone": colour }, words);

// ---- Links.

// Inside Airflow's sandboxed frame a link must be followed by the page around it.
function follow(event) {
  if (parent === window || event.button > 1) return;
  const anchor = parent.document.createElement("a");
  anchor.href = this.href;
  anchor.rel = "noopener noreferrer";
  const other = this.origin !== location.origin;
  if (other || event.button || event.ctrlKey || event.metaKey || event.shiftKey) anchor.target = "_blank";
  event.preventDefault();
  anchor.click();
}

// Data may hold anything: only http and https are followed, anything else stays text.
function link(address, words, props) {
  let url;
  try {
    url = new URL(text(address) || "about:blank", location.href);
  } catch {
    return null;
  }
  if (!words || !/^https?:$/.test(url.protocol)) return null;
  return h("a", { ...props, href: url.href, onclick: follow, onauxclick: follow }, words);
}

const airflow = (...parts) => base + parts.map((p) => encodeURIComponent(text(p))).join("/");

// ---- The refresh.

const here = location.pathname.replace(/\/+$/, "");
const MAX_INTERVAL = 60; // seconds

const get = (what) => fetch(`${here}/${what}`, { cache: "no-store", signal: AbortSignal.timeout(60000) });

// Requests the page's data when it is due, and renders after each answer.
function poll(refusals, render) {
  const state = { data: null, refusal: "", error: "", due: 0, clockOffset: 0, isSlow: false };
  let busy = false;
  let timer;
  let requestedAt = -Infinity;
  let failures = 0;
  let interval = 5;

  function schedule() {
    clearTimeout(timer);
    if (state.due === null || busy) return;
    const at = document.hidden ? Math.max(state.due, requestedAt + MAX_INTERVAL * 1000) : state.due;
    timer = setTimeout(refresh, Math.min(Math.max(0, at - Date.now()), 3600000));
  }

  async function read() {
    const answer = await get("data");
    const refusal = { 401: "Your session has ended: reload the page.", ...refusals }[answer.status];
    if (refusal) return { refusal, status: answer.status, poll: null };
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    return (await answer.json()) ?? {};
  }

  function accept(answer) {
    failures = 0;
    state.error = "";
    state.refusal = answer.refusal ?? "";
    if (!answer.refusal) {
      state.data = answer;
      state.clockOffset = (moment(answer.now) ?? Date.now()) - Date.now();
    } else if (answer.status !== 401) {
      state.data = null; // what the user may no longer see is removed
    }
    const seconds = number(answer.poll);
    if (seconds !== null) interval = Math.max(1, seconds);
    state.due = seconds === null ? null : Date.now() + interval * 1000;
  }

  function retryLater(error) {
    failures += 1;
    state.error = /^HTTP/.test(error.message) ? error.message : "no answer";
    // Exponential backoff with jitter, so that tabs don't retry all at once.
    const wait = Math.min(MAX_INTERVAL, interval * 2 ** failures) * (0.8 + Math.random() * 0.2);
    state.due = Date.now() + wait * 1000;
  }

  async function refresh() {
    if (busy) return;
    busy = true;
    requestedAt = Date.now();
    try {
      accept(await read());
    } catch (error) {
      retryLater(error);
    }
    busy = false;
    schedule();
    render();
  }

  // No message flashes if the answer is quick.
  setTimeout(() => {
    state.isSlow = true;
    render();
  }, 300);
  document.addEventListener("visibilitychange", schedule);
  addEventListener("storage", render); // the time zone may have been changed
  refresh();
  return { state, refresh };
}

function freshness({ data, refusal, error, due, clockOffset }) {
  if (refusal) return null;
  const answeredAt = moment(data?.now);
  const from = answeredAt === null ? "" : `As of ${timeOfDay(answeredAt)}`;
  if (error) {
    const retry = `The request to Airflow failed (${error}). Next attempt at ${timeOfDay(due + clockOffset)}.`;
    return from ? `${from}. ${retry}` : retry;
  }
  const next = number(data.poll);
  return from && (next === null ? from : `${from}, every ${amount.format(next)} s`);
}

// A message in place of the page, or above it.
function notices({ refusal, isSlow, data, error }) {
  const words = refusal || (isSlow && !data && !error && "Loading …");
  return words && h("p", { class: "message", role: "status" }, words);
}

function tools({ state, refresh }, ...more) {
  const line = freshness(state);
  return h("div", { class: "tools" },
    line && h("span", { class: "fresh" }, line),
    more,
    h("button", { class: "button", onclick: refresh }, "Refresh"));
}

// The objects of a list; anything else is left out.
const list = (value) => (Array.isArray(value) ? value : []).filter((item) => item instanceof Object);

const heading = (name, props) => h("th", { scope: "col", role: "columnheader", ...props }, name);
