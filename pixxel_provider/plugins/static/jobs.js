"use strict";
// All waits: "Pixxel jobs" under Browse.
const [bar, filter, shown, rows] = document.querySelectorAll("#top, #filter, #shown, #list");
const KEPT = "pixxel-jobs";
const view = { filter: "", shown: "all", sort: "Started", down: true, ...kept() };
const source = watch({ 403: "You have no right to see this page." }, render);
const order = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

// Filter and sort live as long as the tab.
function kept() {
  return JSON.parse(sessionStorage.getItem(KEPT) ?? "{}");
}

// ---- Columns: how a row is shown, and by what it is sorted

const named = (row) => text(row.task_id) + (row.map_index >= 0 ? ` [${row.map_index}]` : "");

// Where Airflow shows the page of the job.
function tab({ dag_id: dag, run_id: run, task_id: task, map_index: index }) {
  const mapped = index >= 0 ? ["mapped", index] : [];
  return airflow("dags", dag, "runs", run, "tasks", task, ...mapped, "plugin", "pixxel-job");
}

function share(row) {
  const done = percent(row.progress);
  return done !== null && [
    h("span", { class: "meter small", "data-tone": tone(row.meaning, row.status), "aria-hidden": "true" },
      h("span", { class: "fill", "--done": `${done}%` })),
    `${done}\u00a0%`];
}

const said = (key) => (row) => text(row[key]);
const at = (key) => (row) => moment(row[key]);

// Without "show" a row is shown by what it is sorted by.
const COLUMNS = {
  DAG: { by: said("dag_id"), show: (row) => link(airflow("dags", row.dag_id), text(row.dag_id)) },
  Run: {
    by: said("run_id"),
    show: (row) => link(airflow("dags", row.dag_id, "runs", row.run_id), text(row.run_id)),
  },
  Task: { by: named, show: (row) => link(tab(row), named(row)) },
  Job: { by: said("job_id"), look: "mono" },
  Workflow: { by: said("workflow_id"), look: "mono" },
  State: { by: said("state"), show: (row) => badge(text(row.state), text(row.state)) },
  Status: { by: said("status"), show: (row) => badge(text(row.status), tone(row.meaning, row.status)) },
  Progress: { by: (row) => number(row.progress), show: share },
  Cost: { by: (row) => number(row.cost) ?? number(row.estimated_cost), show: (row) => cost(row) },
  Started: { by: at("start"), show: (row) => time(moment(row.start)) },
  Ended: { by: at("end"), show: (row) => time(moment(row.end)) },
};

// ---- Which rows, and in which order

function chosen(row) {
  if (view.shown === "all") return true;
  if (view.shown === "waiting") return row.waiting;
  return !row.waiting && (view.shown === "ended" || row.meaning === view.shown);
}

function matches(row, words) {
  const hay = [row.dag_id, named(row), row.job_id, row.workflow_id].map(text).join("\n").toLowerCase();
  return words.every((word) => hay.includes(word));
}

// Whatever isn't known comes last, in both directions.
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
  return sorted(rows.filter((row) => chosen(row) && matches(row, words)));
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
  const cell = ([name, { by, show = by, look }]) => h("td", { "data-label": name, class: look }, show(row));
  return h("tr", { key }, Object.entries(COLUMNS).map(cell));
}

function table(rows) {
  return h("table", { class: "jobs", "aria-label": "Pixxel jobs", key: "table" },
    h("thead", null, h("tr", null, Object.keys(COLUMNS).map(head))),
    h("tbody", null, rows.map(line)));
}

function body({ rows: all, note }) {
  const found = list(all).filter((row) => row.dag_id);
  const seen = visible(found);
  const waiting = found.filter((row) => row.waiting).length;
  const counts = `${waiting} waiting, ${found.length - waiting} ended; ${seen.length} shown`;
  const calm = found.length ? "Nothing matches the filter."
    : "Nothing is waiting, and nothing ended in the last 24 hours.";
  return [
    note && h("p", { class: "note" }, text(note)),
    found.length > 0 && h("p", { class: "muted counts", role: "status" }, counts),
    seen.length ? table(seen) : h("p", { class: "calm" }, calm),
  ];
}

function render() {
  const { data, trouble } = source.now;
  sessionStorage.setItem(KEPT, JSON.stringify(view));
  draw(bar, h("h1", null, "Pixxel jobs"), (data || trouble) && tools(source));
  draw(rows, notices(source.now), data && body(data));
}

function choose() {
  Object.assign(view, { filter: filter.value, shown: shown.value });
  render();
}

// What was chosen before this script came stays.
filter.value ||= text(view.filter);
if (shown.value === "all") shown.value = view.shown;
shown.value ||= "all"; // kept by another version
filter.addEventListener("input", choose);
shown.addEventListener("change", choose);
choose();
