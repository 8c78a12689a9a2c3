"use strict";
// What both pages share: drawing, words for numbers and times, links, and the refresh.
// The scripts of a page share one scope, which nobody else uses: no wrappers, no exports.
const base = document.documentElement.dataset.root.replace(/\/pixxel$/, "") + "/";

// ---- Drawing. A page is described anew each time and laid over what is there: only differences touch the
// document, so focus, selection, scroll position and open details survive. Text only ever becomes text nodes.

const drawn = new WeakMap(); // element -> the attributes it was given

// Said aloud, since tables that are laid out as blocks lose their roles.
const ROLES = {
  table: "table", thead: "rowgroup", tbody: "rowgroup", tr: "row", th: "rowheader", td: "cell",
};

function h(tag, props, ...children) {
  return { tag, props: { role: ROLES[tag], ...props }, children: children.flat(9).filter(Boolean) };
}

// Names with "--" carry measures to the stylesheet: a style attribute isn't allowed here.
function dress(element, props) {
  const was = drawn.get(element) ?? {};
  for (const name of Object.keys({ ...was, ...props })) {
    const value = props[name];
    if (value === was[name] || name === "key") continue;
    if (name.startsWith("on")) element[name] = value;
    else if (name.startsWith("--")) element.style.setProperty(name, value ?? null);
    else if (value == null || value === false) element.removeAttribute(name);
    else element.setAttribute(name, value);
  }
  drawn.set(element, props);
}

// The nodes that are there, first one last, by what they may become.
function pool(parent) {
  const free = new Map();
  for (const node of [...parent.childNodes].reverse()) {
    const name = `${node.nodeName.toLowerCase()} ${drawn.get(node)?.key}`;
    if (!free.get(name)?.push(node)) free.set(name, [node]);
  }
  return free;
}

function patch(parent, children) {
  const free = pool(parent);
  const nodes = children.map((child) => {
    if (typeof child !== "object") {
      const node = free.get("#text undefined")?.pop() ?? document.createTextNode("");
      if (node.data !== String(child)) node.data = child;
      return node;
    }
    const { tag, props, children: inner } = child;
    const element = free.get(`${tag} ${props.key}`)?.pop() ?? document.createElement(tag);
    dress(element, props);
    patch(element, inner);
    return element;
  });
  // First what is gone, so that whatever stays needn't move.
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

// ---- Times, in the zone that was chosen in Airflow.

function zone() {
  try {
    return JSON.parse(localStorage.getItem("timezone")) || undefined;
  } catch {
    return undefined;
  }
}

const formats = new Map();

// Sweden writes times as Airflow does: "2026-11-24 04:00:00".
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

const clock = (ms) => stamp(ms).slice(11);

// How far the zone is ahead of UTC at that moment.
const ahead = (ms) => Date.parse(stamp(ms).replace(" ", "T") + "Z") - Math.floor(ms / 1000) * 1000;

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

// ---- Numbers and words.

const amount = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);
const text = (value) => (typeof value === "object" && value ? JSON.stringify(value) : String(value ?? ""));

// Rounded down: 100 % is said when it is there, not before.
function percent(value) {
  return number(value) === null ? null : Math.floor(Math.min(100, Math.max(0, value)));
}

function cost({ cost: spent, estimated_cost: guess, meaning }, unit) {
  const [paid, about] = [number(spent), number(guess)];
  const credits = (n) => amount.format(n) + (unit ? (n === 1 ? " credit" : " credits") : "");
  if (paid === null) return about === null ? "" : `about ${credits(about)}`;
  if (about === null) return credits(paid);
  if (meaning === "waiting") return `${amount.format(paid)} of about ${credits(about)}`;
  return `${credits(paid)}, estimated ${amount.format(about)}`;
}

const TONES = { succeeded: "success", failed: "failed", unclear: "up_for_retry" };

// Airflow's colour for a Pixxel status: whatever waits without running looks queued.
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
const LONGEST = 60;

const get = (what) => fetch(`${here}/${what}`, { cache: "no-store", signal: AbortSignal.timeout(60000) });

// Asks for the page's data when it is due, and draws after each answer.
function watch(stops, redraw) {
  const now = { data: null, gone: "", trouble: "", due: 0, ahead: 0, late: false };
  let busy = false;
  let timer;
  let asked = -Infinity;
  let failures = 0;
  let every = 5;

  function schedule() {
    clearTimeout(timer);
    if (now.due === null || busy) return;
    const at = document.hidden ? Math.max(now.due, asked + LONGEST * 1000) : now.due;
    timer = setTimeout(ask, Math.min(Math.max(0, at - Date.now()), 3600000));
  }

  async function read() {
    const answer = await get("data");
    const gone = { 401: "Your session has ended: reload the page.", ...stops }[answer.status];
    if (gone) return { gone, status: answer.status, poll: null };
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    return (await answer.json()) ?? {};
  }

  function accept(answer) {
    failures = 0;
    now.trouble = "";
    now.gone = answer.gone ?? "";
    if (!answer.gone) {
      now.data = answer;
      now.ahead = (moment(answer.now) ?? Date.now()) - Date.now();
    } else if (answer.status !== 401) {
      now.data = null; // what one may no longer see isn't left standing
    }
    const poll = number(answer.poll);
    if (poll !== null) every = Math.max(1, poll);
    now.due = poll === null ? null : Date.now() + every * 1000;
  }

  function postpone(error) {
    failures += 1;
    now.trouble = /^HTTP/.test(error.message) ? error.message : "no answer";
    // Doubled each time, and never all tabs at the same moment.
    const wait = Math.min(LONGEST, every * 2 ** failures) * (0.8 + Math.random() * 0.2);
    now.due = Date.now() + wait * 1000;
  }

  async function ask() {
    if (busy) return;
    busy = true;
    asked = Date.now();
    try {
      accept(await read());
    } catch (error) {
      postpone(error);
    }
    busy = false;
    schedule();
    redraw();
  }

  // Nothing flashes when the answer is quick.
  setTimeout(() => {
    now.late = true;
    redraw();
  }, 300);
  document.addEventListener("visibilitychange", schedule);
  addEventListener("storage", redraw); // the zone may have been changed
  ask();
  return { now, ask };
}

function freshness({ data, gone, trouble, due, ahead: offset }) {
  if (gone) return null;
  const said = moment(data?.now);
  const from = said === null ? "" : `As of ${clock(said)}`;
  if (trouble) {
    const again = `Airflow couldn't be asked just now (${trouble}). Trying again at ${clock(due + offset)}.`;
    return from ? `${from}. ${again}` : again;
  }
  const next = number(data.poll);
  return from && (next === null ? from : `${from}, every ${amount.format(next)} s`);
}

// What stands in the page's place, or above it.
function notices({ gone, late, data, trouble }) {
  const words = gone || (late && !data && !trouble && "Asking Airflow …");
  return words && h("p", { class: "calm", role: "status" }, words);
}

function tools({ now, ask }, ...more) {
  const line = freshness(now);
  return h("div", { class: "tools" },
    line && h("span", { class: "fresh" }, line),
    more,
    h("button", { class: "button", onclick: ask }, "Refresh"));
}

// Whatever isn't an object is left out.
const list = (value) => (Array.isArray(value) ? value : []).filter((item) => item instanceof Object);

const heading = (name, props) => h("th", { scope: "col", role: "columnheader", ...props }, name);
