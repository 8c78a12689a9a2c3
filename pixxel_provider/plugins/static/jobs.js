"use strict";
// All waits: "Pixxel jobs" under Browse.
const [bar, filter, shown, rows] = document.querySelectorAll("#top, #filter, #shown, #list");
const STORAGE_KEY = "pixxel-jobs";
const view = { filter: "", shown: "all", sort: "Started", down: true, ...stored() };
const source = poll({ 403: "You have no right to see this page." }, render);
const order = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

// Filter and order are kept as long as the tab is open.
function stored() {
  return JSON.parse(sessionStorage.getItem(STORAGE_KEY) ?? "{}");
}

// ---- Columns: how a row is shown, and by what it is sorted

const taskName = (row) => text(row.task_id) + (row.map_index >= 0 ? ` [${row.map_index}]` : "");

// Airflow's address of the tab with the job.
function tab({ dag_id: dag, run_id: run, task_id: task, map_index: index }) {
  const mapped = index >= 0 ? ["mapped", index] : [];
  return airflow("dags", dag, "runs", run, "tasks", task, ...mapped, "plugin", "pixxel-job");
}

function progress(row) {
  const done = percent(row.progress);
  return done !== null && [
    h("span", { class: "meter small", "data-tone": tone(row.meaning, row.status), "aria-hidden": "true" },
      h("span", { class: "fill", "--done": `${done}%` })),
    `${done}\u00a0%`];
}

const textOf = (key) => (row) => text(row[key]);
const timeOf = (key) => (row) => moment(row[key]);

// Without "show" a row is shown by what it is sorted by.
const COLUMNS = {
  DAG: { by: textOf("dag_id"), show: (row) => link(airflow("dags", row.dag_id), text(row.dag_id)) },
  Run: {
    by: textOf("run_id"),
    show: (row) => link(airflow("dags", row.dag_id, "runs", row.run_id), text(row.run_id)),
  },
  Task: { by: taskName, show: (row) => link(tab(row), taskName(row)) },
  Job: { by: textOf("job_id"), kind: "mono" },
  Workflow: { by: textOf("workflow_id"), kind: "mono" },
  State: { by: textOf("state"), show: (row) => badge(text(row.state), text(row.state)) },
  Status: { by: textOf("status"), show: (row) => badge(text(row.status), tone(row.meaning, row.status)) },
  Progress: { by: (row) => number(row.progress), show: progress },
  Cost: { by: (row) => number(row.cost) ?? number(row.estimated_cost), show: (row) => cost(row) },
  Started: { by: timeOf("start"), show: (row) => time(moment(row.start)) },
  Ended: { by: timeOf("end"), show: (row) => time(moment(row.end)) },
};

// ---- Which rows, and in which order

function isShown(row) {
  if (view.shown === "all") return true;
  if (view.shown === "waiting") return row.waiting;
  return !row.waiting && (view.shown === "ended" || row.meaning === view.shown);
}

function matches(row, words) {
  const searched = [row.dag_id, taskName(row), row.job_id, row.workflow_id].map(text).join("\n").toLowerCase();
  return words.every((word) => searched.includes(word));
}

// Unknown values come last, in both directions.
function compare(a, b) {
  const unknown = (value) => value === null || value === "";
  if (unknown(a) || unknown(b)) return unknown(a) - unknown(b);
  const way = typeof a === "string" ? order.compare(a, b) : a - b;
  return view.down ? -way : way;
}

function sorted(rows) {
  const { by } = COLUMNS[view.sort] ?? COLUMNS.Started;
  return rows.map((row) => [by(row), row]).sort(([a], [b]) => compare(a, b)).map(([, row]) => row);
}

function visible(rows) {
  const words = view.filter.toLowerCase().split(/\s+/).filter(Boolean);
  return sorted(rows.filter((row) => isShown(row) && matches(row, words)));
}

function sortBy(name) {
  view.down = view.sort === name ? !view.down : name === "Started" || name === "Ended";
  view.sort = name;
  render();
}

function head(name) {
  const direction = view.sort === name ? (view.down ? "descending" : "ascending") : null;
  const button = h("button", { class: "sort", onclick: () => sortBy(name) }, name);
  return heading(button, { "aria-sort": direction });
}

function line(row) {
  const key = JSON.stringify([row.dag_id, row.run_id, row.task_id, row.map_index]);
  const cell = ([name, { by, show = by, kind }]) => h("td", { "data-label": name, class: kind }, show(row));
  return h("tr", { key }, Object.entries(COLUMNS).map(cell));
}

function table(rows) {
  return h("table", { class: "jobs", "aria-label": "Pixxel jobs", key: "table" },
    h("thead", null, h("tr", null, Object.keys(COLUMNS).map(head))),
    h("tbody", null, rows.map(line)));
}

// ---- Watchers: what starts DAGs when jobs end

// Why not every job: the outcomes and the creator that the watcher is limited to.
function limits({ outcomes, created_by: creator }) {
  const words = Array.isArray(outcomes) ? outcomes.map(text) : [];
  return [...words, creator && `created by ${text(creator)}`].filter(Boolean).join(", ") || "all jobs";
}

const WATCHER_COLUMNS = {
  Workflow: (row) => text(row.workflow_id),
  Asset: (row) => link(airflow("assets", row.asset_id), text(row.asset)),
  DAGs: (row) => row.dag_ids.map((dag) => [link(airflow("dags", dag), text(dag)), " "]),
  Connection: (row) => text(row.conn_id),
  "Events for": limits,
  State: (row) => (row.runs ? badge("watching", "running") : badge("no triggerer", "queued")),
  "Last event": (row) => time(moment(row.last_event)),
};

function watchers(rows) {
  const names = Object.keys(WATCHER_COLUMNS);
  const cell = (row) => (name) => h("td", { "data-label": name }, WATCHER_COLUMNS[name](row));
  return rows.length > 0 && h("section", { "aria-labelledby": "watchers", key: "watchers" },
    h("h2", { id: "watchers" }, "Watchers"),
    h("table", { class: "jobs watchers", "aria-labelledby": "watchers" },
      h("thead", null, h("tr", null, names.map((name) => heading(name)))),
      h("tbody", null, rows.map((row) => h("tr", null, names.map(cell(row)))))));
}

function body({ rows: all, note, watchers: watching }) {
  const known = list(all).filter((row) => row.dag_id);
  const shownRows = visible(known);
  const waiting = known.filter((row) => row.waiting).length;
  const counts = `${waiting} waiting, ${known.length - waiting} ended; ${shownRows.length} shown`;
  const empty = known.length ? "Nothing matches the filter."
    : "Nothing is waiting, and nothing ended in the last 24 hours.";
  return [
    note && h("p", { class: "note" }, text(note)),
    known.length > 0 && h("p", { class: "muted counts", role: "status" }, counts),
    shownRows.length ? table(shownRows) : h("p", { class: "message" }, empty),
    watchers(list(watching)),
  ];
}

function render() {
  const { data, error } = source.state;
  sessionStorage.setItem(STORAGE_KEY, JSON.stringify(view));
  draw(bar, h("h1", null, "Pixxel jobs"), (data || error) && tools(source));
  draw(rows, notices(source.state), data && body(data));
}

function applyFilters() {
  Object.assign(view, { filter: filter.value, shown: shown.value });
  render();
}

// What was chosen before this script was loaded stays.
filter.value ||= text(view.filter);
if (shown.value === "all") shown.value = view.shown;
shown.value ||= "all"; // stored by another version
filter.addEventListener("input", applyFilters);
shown.addEventListener("change", applyFilters);
applyFilters();
