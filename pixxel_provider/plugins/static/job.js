"use strict";
// The page of one job: the tab "Pixxel job" of a task instance.
const page = document.getElementById("page");
const toggled = new Map(); // task -> whether its details were opened or closed
const raw = { open: false, version: "", text: "", busy: false };
let announced = null; // status and progress that a screen reader has announced, in steps of ten percent
let announcement = "";
const refusals = { 403: "You have no right to see this task.", 404: "Airflow doesn't know this task." };
const source = poll(refusals, render);

const times = (of) => ({ start: moment(of.start), end: moment(of.end), expected: moment(of.expected_end) });

const isOver = (job) => job.meaning === "succeeded" || job.meaning === "failed";

function fact(name, value, kind) {
  return value && h("div", { class: kind, key: name }, h("dt", null, name), h("dd", null, value));
}

function when(ms, now) {
  const words = stamp(ms);
  return time(ms, words.slice(words.slice(0, 10) === stamp(now).slice(0, 10) ? 11 : 0, 16));
}

function expected(ms, now) {
  if (ms === null) return null;
  if (ms >= now) return ["about ", when(ms, now), `, in ${span(ms - now)}`];
  return ["was expected at ", when(ms, now), `, ${span(now - ms)} ago`];
}

function facts(job, task, now) {
  const begun = moment(job.started_at) ?? moment(job.created_at);
  const over = isOver(job);
  const ended = moment(job.finished_at) ?? (over ? moment(job.updated_at) : null);
  return h("dl", { class: "facts" },
    fact("Cost", cost(job, true) || "not known"),
    fact("Elapsed", begun !== null && (ended !== null || !over) && duration((ended ?? now) - begun)),
    fact("Expected end", ended === null && expected(moment(job.expected_end), now)),
    fact("Started", time(moment(job.started_at))),
    fact("Ended", time(ended)),
    fact("Workflow", text(job.workflow_id), "mono"),
    fact("Job", text(job.id), "mono long"),
    fact("Created by", text(job.created_by)),
    fact("Connection", text(job.conn_id)),
    fact("Try", task && text(task.try_number)));
}

function progress(job, tasks) {
  const done = percent(job.progress);
  const words = done === null ? "Progress not known" : `${done}\u00a0%`;
  const count = number(job.tasks_done);
  const value = { "aria-valuenow": done, "aria-valuetext": words };
  const bar = { role: "progressbar", "aria-label": "Progress", "aria-valuemin": 0, "aria-valuemax": 100 };
  return h("div", { class: "progress" },
    h("div", { class: "meter", ...bar, ...value, "data-tone": tone(job.meaning, job.status) },
      h("div", { class: "fill", "--done": `${done ?? 0}%` })),
    h("span", { class: "share" }, words),
    count !== null && h("span", { class: "muted" }, `${count} of ${job.tasks_total} tasks done`));
}

const section = (id, title, ...children) =>
  h("section", { "aria-labelledby": id, class: id, key: id }, h("h2", { id }, title), children);

// ---- Failures

const nameOf = (task) => text(task.name) || text(task.id);

function failedTask(task) {
  const block = [task.block?.name, task.block?.version].map(text).filter(Boolean).join(" ");
  return h("li", null,
    h("b", null, nameOf(task)),
    block && [" in block ", h("b", null, block)],
    task.failure_type && [" ", h("code", null, text(task.failure_type))],
    task.err_msg && h("p", { class: "words" }, text(task.err_msg)));
}

function failure(job, tasks) {
  const failed = tasks.filter((task) => task.meaning === "failed");
  if (!job.failure && !failed.length) return null;
  const title = { failed: "Why it failed", unclear: "What is unclear" }[job.meaning] ?? "Failed tasks";
  return section("failure", title,
    job.failure && h("p", { class: "words" }, text(job.failure)),
    failed.length > 0 && h("ul", null, failed.map(failedTask)));
}

const COLUMNS = { from: "From", to: "To", err: "Error", reason: "Reason", component_name: "Component" };

function validation(all) {
  const errors = all.filter((error) => Object.keys(COLUMNS).some((key) => error[key]));
  if (!errors.length) return null;
  const cells = (error) =>
    Object.entries(COLUMNS).map(([key, name]) => h("td", { "data-label": name }, text(error[key])));
  return section("validation", "Validation errors",
    h("table", { class: "errors", "aria-labelledby": "validation" },
      h("thead", null, h("tr", null, Object.values(COLUMNS).map(heading))),
      h("tbody", null, errors.map((error) => h("tr", null, cells(error))))));
}

// ---- The timeline

const MINUTES = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080];
const STEPS = [...[1, 2, 5, 10, 15, 30].map((s) => s / 60), ...MINUTES].map((m) => Math.round(m * 60000));

// The time axis of all bars. Its end moves in steps, so that only running bars grow each second.
function axis(job, tasks, now, isRunning) {
  const all = tasks.map(times);
  const from = Math.min(...all.map((t) => t.start ?? Infinity), moment(job.started_at) ?? Infinity);
  if (from === Infinity) return null;
  const ends = all.map((t) => t.end ?? Math.max(t.start ?? 0, (isRunning && t.expected) || 0));
  const last = Math.max(...ends, isRunning ? now : 0, from + 1000);
  const step = STEPS.find((s) => (last - from) / s <= 4) ?? (last - from) / 4;
  const to = isRunning ? from + Math.ceil(((last - from) / step) * 8 + 0.1) * (step / 8) : last;
  return { from, to, step, at: (ms) => Math.min(1, Math.max(0, (ms - from) / (to - from))) };
}

function ticks({ from, to, step }) {
  const offset = zoneOffset(from);
  const marks = [];
  for (let ms = Math.ceil((from + offset) / step) * step - offset; ms <= to; ms += step) marks.push(ms);
  return marks;
}

function tickWords(ms, step) {
  if (step >= 86400000 || (step >= 3600000 && timeOfDay(ms) === "00:00:00")) return stamp(ms).slice(5, 10);
  return step >= 60000 ? timeOfDay(ms).slice(0, 5) : timeOfDay(ms);
}

const share = (fraction) => `${(fraction * 100).toFixed(3)}%`;

function scale(scope) {
  return h("div", { class: "axis", "aria-hidden": "true" }, ticks(scope).map((ms) => {
    const place = scope.at(ms);
    const edge = place < 0.06 ? "first" : place > 0.94 ? "last" : null;
    return h("span", { key: ms, "data-edge": edge, "--at": share(place) }, tickWords(ms, scope.step));
  }));
}

// Grid lines: one background instead of elements in each row.
function grid(scope) {
  const [first] = ticks(scope);
  const width = scope.step / (scope.to - scope.from);
  return { "--grid": share(width), "--grid-from": share(scope.at(first) / (1 - width)) };
}

const toneOf = (task) => tone(task.meaning, task.meaning);

function bar(kind, scope, from, to, colour) {
  const [left, right] = [from, to].map((ms) => share(scope.at(ms)));
  const place = { "--from": left, "--to": right };
  return to >= from && h("div", { class: kind, key: kind, "data-tone": colour, ...place });
}

function barsOf(task, { scope, byName, now, isRunning }) {
  const { start, end, expected: estimate } = times(task);
  const begins = start === null ? readiness(task, byName, now) : now;
  return [
    end === null && isRunning && estimate !== null && begins !== null && bar("ahead", scope, begins, estimate),
    start !== null && (isRunning || end !== null) && bar("bar", scope, start, end ?? now, toneOf(task)),
  ];
}

// When a task that waits may begin: once the tasks before it are expected to have ended.
function readiness(task, byName, now) {
  const before = list(names(task).map((name) => byName.get(name))).map(times);
  if (!before.length || before.some((t) => t.end === null && t.expected === null)) return null;
  return Math.max(now, ...before.map((t) => t.end ?? t.expected));
}

const names = (task) => (Array.isArray(task.depends_on) ? task.depends_on.map(text) : []);

function after(task) {
  const all = names(task);
  const rest = all.length > 3 ? `, and ${all.length - 3} more` : "";
  return all.length > 0 && h("div", { class: "after" }, `after ${all.slice(0, 3).join(", ")}${rest}`);
}

function lasted(task, now, isRunning) {
  const { start, end } = times(task);
  const done = task.meaning === "running" ? percent(task.progress) : null;
  const long = start !== null && (end !== null || isRunning) && duration((end ?? now) - start);
  return [long, done !== null && h("span", { class: "muted" }, `${done}\u00a0%`)];
}

function details(task) {
  const { start, end, expected: estimate } = times(task);
  const { id, name, version } = task.block ?? {};
  return h("dl", { class: "facts" },
    fact("Block", text(name)), fact("Version", text(version)), fact("Block id", text(id), "mono"),
    fact("Task id", text(task.id), "mono"),
    fact("Started", time(start)), fact("Ended", time(end)), fact("Expected end", end === null && time(estimate)),
    fact("Time taken", text(task.time_taken)),
    fact("Failure type", text(task.failure_type), "mono"),
    fact("After", names(task).length > 3 && names(task).join(", ")),
    fact("State", text(task.state_msg), "words"), fact("Error", text(task.err_msg), "words"));
}

function row(task, index, context) {
  const { scope, now, isRunning } = context;
  const key = text(task.id) || nameOf(task);
  const open = toggled.get(key) ?? task.meaning === "failed";
  const id = `details-${index}`;
  const onclick = () => {
    toggled.set(key, !open);
    render();
  };
  const state = { "aria-expanded": `${open}`, "aria-controls": open && id, onclick };
  const depth = Math.min(8, Math.max(0, number(task.depth) ?? 0));
  const button = h("button", { class: "disclosure", ...state }, nameOf(task) || "(no name)");
  return [
    h("tr", { key, class: open && "opened" },
      h("th", { scope: "row" }, h("div", { class: "step", "--depth": depth }, button, after(task))),
      h("td", null, badge(text(task.status) || text(task.meaning), toneOf(task))),
      h("td", { class: "when" }, h("div", { class: "track" }, scope && barsOf(task, context))),
      h("td", { class: "lasted" }, lasted(task, now, isRunning))),
    open && h("tr", { key: `${key} details`, class: "details" }, h("td", { colspan: 4, id }, details(task))),
  ];
}

function timeline(job, tasks, now) {
  if (!tasks.length) return null;
  const isRunning = moment(job.finished_at) === null && !isOver(job);
  const scope = axis(job, tasks, now, isRunning);
  const context = { scope, byName: new Map(tasks.map((task) => [text(task.name), task])), now, isRunning };
  return section("tasks", "Tasks",
    h("table", { class: "timeline", "aria-labelledby": "tasks", ...(scope && grid(scope)) },
      h("thead", null, h("tr", null,
        heading("Task"), heading("Status"),
        heading([h("span", { class: "sr-only" }, "Timeline"), scope && scale(scope)]), heading("Duration"))),
      h("tbody", null, tasks.map((task, index) => row(task, index, context)))));
}

// ---- The raw metadata, requested when it is opened

async function readRaw() {
  raw.busy = true;
  const version = currentVersion();
  try {
    const answer = await get("raw");
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    raw.text = await answer.text();
  } catch {
    raw.text ||= "The metadata couldn't be loaded.";
  }
  raw.version = version;
  raw.busy = false;
  render();
}

const currentVersion = () => JSON.stringify([source.state.data?.job, source.state.data?.tasks]);

function metadata() {
  if (raw.open && !raw.busy && raw.version !== currentVersion()) readRaw();
  const ontoggle = (event) => {
    raw.open = event.target.open;
    if (!raw.open) raw.version = "";
    render();
  };
  return h("details", { class: "raw", key: "raw", ontoggle },
    h("summary", null, "Raw metadata"),
    h("pre", { tabindex: 0, role: "region", "aria-label": "Raw metadata" }, raw.text || "Loading …"));
}

// For screen readers, and only if the status or a tenth of the progress changed.
function announce(job) {
  const done = percent(job.progress);
  const words = text(job.status) + (done === null ? "" : `, ${done - (done % 10)}\u00a0%`);
  if (announced !== null && announced !== words) announcement = words;
  announced = words;
  return h("p", { class: "sr-only", "aria-live": "polite", key: "announcement" }, announcement);
}

function body(data, now) {
  const { job, task, message } = data;
  const note = message && h("p", { class: job ? "note" : "message", key: "note" }, text(message));
  if (!job) return note;
  const tasks = list(data.tasks);
  return [
    announce(job), note, progress(job, tasks), facts(job, task, now), failure(job, tasks),
    validation(list(data.val_errors)), timeline(job, tasks, now), metadata(),
  ];
}

function render() {
  const { data, error } = source.state;
  const job = data?.job;
  document.title = job ? `${text(job.status)}: Pixxel job ${text(job.id)}` : "Pixxel job";
  const consoleLink = job && link(job.console, "Open in Pixxel's console", { class: "button" });
  draw(page,
    h("div", { class: "top" },
      h("h1", null, "Pixxel job"), job && badge(text(job.status), tone(job.meaning, job.status)),
      (data || error) && tools(source, consoleLink)),
    notices(source.state), data && body(data, Date.now() + source.state.clockOffset));
}

// Times and bars of a running job grow each second.
setInterval(() => {
  const job = source.state.data?.job;
  if (job && !document.hidden && !isOver(job)) render();
}, 1000);
