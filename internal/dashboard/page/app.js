// Keeps the page current from the stream /feed. Each event is the whole state, but with the last seconds only: older
// seconds are kept here, also while the gateway restarts.
"use strict";

const byId = (id) => document.getElementById(id);
const number = (n) => n.toLocaleString("en");
const many = (n, one, more) => (n === 1 ? one : more);

// ------------------------------------------------------------------------------------------------------- stream ----

const kept = 15 * 60;
const seconds = new Map(); // Unix second: [deliveries, executions]
let state = null;
let served = ""; // the replica that tells the state
let tenant = new URLSearchParams(location.search).get("tenant") || ""; // whose webhooks are shown; "": all
let stream = null;

const ofTenant = (name) => (name ? "?tenant=" + encodeURIComponent(name) : "");

function connect() {
  const own = new EventSource("/feed" + ofTenant(tenant));
  stream = own;
  own.onmessage = (event) => {
    if (stream !== own) return; // another tenant was chosen
    const told = JSON.parse(event.data);
    for (const [at, deliveries, executions] of told.seconds || []) {
      seconds.set(at, [deliveries, executions]);
    }
    for (const at of seconds.keys()) {
      if (at < told.now / 1000 - kept) seconds.delete(at);
    }
    link(served && served !== told.served ? "live, from a gateway that has restarted" : "live", false);
    served = served || told.served;
    state = told;
    show();
  };
  own.onerror = () => {
    link("the connection is lost: connecting again…", true);
    if (own.readyState === EventSource.CLOSED) { // an answer that is no stream: it restarts, or wants a login
      setTimeout(async () => {
        const reply = await fetch("/state" + ofTenant(tenant)).catch(() => null);
        if (reply && reply.status === 401) location.reload();
        else if (reply && reply.status === 404) choose(""); // the tenant is gone
        else if (stream === own) connect();
      }, 1000);
    }
  };
}

// choose shows the webhooks of another tenant, or of all tenants.
function choose(name) {
  tenant = name;
  stream.close();
  seconds.clear();
  history.replaceState(null, "", location.pathname + ofTenant(tenant));
  connect();
}

// tenants offers the existing tenants.
function tenants() {
  const select = byId("tenant"), names = state.tenants || [], wanted = names.join(" ");
  select.hidden = names.length === 0;
  document.body.classList.toggle("filtered", tenant !== "");
  if (select.dataset.shown === wanted) return;
  select.dataset.shown = wanted;
  select.replaceChildren(...["", ...names].map(
    (name) => new Option(name || "all tenants", name, false, name === tenant)));
}

function link(text, lost) {
  const shown = byId("link");
  if (shown.textContent !== text) shown.textContent = text;
  shown.classList.toggle("lost", lost);
}

// ------------------------------------------------------------------------------------------------------ picture ----

let span = 0; // seconds; 0: as far as there is something to see
let plot = null;
let bins = { size: 1, at: [], up: [], down: [] };

const shownSpan = () => {
  if (span) return span;
  const first = Math.min(...seconds.keys());
  return state.now / 1000 - first > 180 ? kept : 120;
};

// gather adds seconds up to bars that are wide enough to be seen.
function gather(width) {
  const length = shownSpan();
  const size = [1, 2, 5, 10, 15, 30, 60].find((s) => (length / s) * 5 <= width) || 60;
  const last = Math.floor(state.now / 1000 / size) * size;
  const from = last - length + size;
  bins = { size, at: [], up: [], down: [] };
  for (let at = from; at <= last; at += size) {
    let up = 0, down = 0;
    for (let s = at; s < at + size; s++) {
      const [deliveries, executions] = seconds.get(s) || [0, 0];
      up += deliveries;
      down += executions;
    }
    bins.at.push(at);
    bins.up.push(up);
    bins.down.push(-down);
  }
}

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// bars draws arrivals above the line and executions below it, on one scale.
function bars(u) {
  const { ctx, bbox } = u, dpr = devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, 0, bbox.width, bbox.top + bbox.height);
  ctx.clip();
  const zero = u.valToPos(0, "y", true);
  const left = (at) => u.valToPos(at, "x", true);
  const gap = left(bins.at[0] + bins.size) - left(bins.at[0]) > 4 * dpr ? dpr : 0;
  let peak = 0;
  bins.at.forEach((at, i) => {
    const x = left(at), width = left(at + bins.size) - x - gap;
    if (bins.up[i] > 0) {
      const height = Math.max(zero - u.valToPos(bins.up[i], "y", true), 2 * dpr);
      ctx.fillStyle = color("--in");
      ctx.fillRect(x, zero - height, width, height);
    }
    if (bins.down[i] < 0) {
      const height = Math.max(u.valToPos(bins.down[i], "y", true) - zero, 7 * dpr);
      ctx.fillStyle = color("--out");
      ctx.fillRect(x, zero, width, height);
    }
    if (bins.up[i] > bins.up[peak]) peak = i;
  });
  ctx.fillStyle = color("--ink");
  ctx.fillRect(bbox.left, zero - dpr, bbox.width, 2 * dpr);
  words(u, zero, peak);
  ctx.restore();
}

// words labels the picture, and describes the storm with the highest bar: the bars around it that are not much lower.
function words(u, zero, peak) {
  const { ctx, bbox } = u, dpr = devicePixelRatio;
  const large = (innerWidth < 640 ? 13 : 16) * dpr;
  ctx.font = "600 " + large + "px " + getComputedStyle(document.body).fontFamily;
  ctx.textBaseline = "top";
  ctx.textAlign = "left";
  ctx.fillStyle = color("--in");
  ctx.fillText("▲ arrived", bbox.left + 6 * dpr, bbox.top + 2 * dpr);
  ctx.textBaseline = "bottom";
  ctx.fillStyle = color("--out");
  ctx.fillText("▼ executed by the backend", bbox.left + 6 * dpr, bbox.top + bbox.height - 2 * dpr);
  const high = (i) => bins.up[i] > bins.up[peak] / 4;
  let from = peak, to = peak, arrived = 0, executed = 0;
  while (high(from - 1)) from--;
  while (high(to + 1)) to++;
  for (let i = from; i <= to; i++) {
    arrived += bins.up[i];
    executed -= bins.down[i];
  }
  if (arrived < 10 || arrived < 3 * executed) return;
  const x = u.valToPos((bins.at[from] + bins.at[to] + bins.size) / 2, "x", true);
  const y = u.valToPos(bins.up[peak], "y", true) - 3 * dpr;
  const text = number(arrived) + " arrived, " + number(executed) + " executed";
  const half = ctx.measureText(text).width / 2;
  ctx.textAlign = "center";
  ctx.fillStyle = color("--in");
  const middle = Math.min(Math.max(x, bbox.left + half + 110 * dpr), bbox.left + bbox.width - half);
  ctx.fillText(text, middle, Math.max(y, large));
}

function range() {
  const up = Math.max(4, ...bins.up), down = Math.max(0, ...bins.down.map((n) => -n));
  return [-Math.max(down * 1.1, up * 0.3), up * 1.18];
}

function draw() {
  const place = byId("plot");
  const width = place.clientWidth, height = place.clientHeight;
  if (!state || !width) return;
  gather(width - 60);
  const data = [bins.at, bins.up, bins.down];
  if (!plot) {
    const axis = () => ({
      stroke: () => color("--soft"), grid: { stroke: () => color("--line"), width: 1 }, ticks: { show: false },
      font: "12px system-ui, 'DejaVu Sans', sans-serif",
    });
    plot = new uPlot({
      width, height, legend: { show: false }, padding: [8, 30, 0, 0],
      scales: { x: { time: true, range: (u, min, max) => [min, max + bins.size] }, y: { range } },
      axes: [
        { ...axis(), size: 28, space: 70, values: (u, at) => at.map((s) => new Date(s * 1000).toLocaleTimeString(
          "en-GB", shownSpan() > 300 ? { hour: "2-digit", minute: "2-digit" } : {})) },
        { ...axis(), size: 56, values: (u, at) => at.map((n) => (Number.isInteger(n) ? number(Math.abs(n)) : "")) },
      ],
      series: [{}, { paths: () => null, points: { show: false } }, { paths: () => null, points: { show: false } }],
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
      hooks: { draw: [bars], setCursor: [(u) => tell(u.cursor.idx)] },
    }, data, place);
  } else {
    if (plot.width !== width || plot.height !== height) plot.setSize({ width, height });
    plot.setData(data);
  }
  for (const b of document.querySelectorAll("[data-span]")) {
    b.setAttribute("aria-pressed", String(Number(b.dataset.span) === shownSpan()));
  }
}

// tell describes the bar under the pointer; without one, all bars.
function tell(i) {
  const every = bins.size === 1 ? "one second" : bins.size + " seconds";
  byId("at").textContent = i == null || i < 0 || i >= bins.at.length ? "each bar: " + every :
    new Date(bins.at[i] * 1000).toLocaleTimeString("en-GB") + ": " + number(bins.up[i]) + " arrived, " +
    number(-bins.down[i]) + " executed, in " + every;
}

// -------------------------------------------------------------------------------------------------------- words ----

function show() {
  tenants();
  verdicts();
  hero();
  draw();
  byId("executing").textContent = number(state.executing);
  byId("waiting").textContent = number(state.waiting);
  byId("oldest").textContent = state.oldest_ms ? length(state.oldest_ms) : "–";
  byId("all").textContent = number(state.all.deliveries);
  byId("all-word").textContent = "answered in all, " + number(state.all.executions) +
    " executed: Redis' counters, of crashed replicas too";
  tables();
  facts();
}

function verdicts() {
  const place = byId("verdicts");
  const wanted = JSON.stringify([tenant, state.verdicts]);
  if (place.dataset.shown === wanted) return; // a screen reader reads it once
  place.dataset.shown = wanted;
  place.replaceChildren(...state.verdicts.map((v) => {
    const strip = document.createElement("p");
    strip.className = "strip " + v.level;
    const sentence = document.createElement("b");
    sentence.textContent = v.sentence;
    if (tenant) {
      const whose = document.createElement("small");
      whose.textContent = "all tenants";
      strip.append(whose, " ");
    }
    strip.append(sentence, v.do);
    return strip;
  }));
}

function hero() {
  let deliveries = 0, executions = 0; // of the picture, which the page may know from before its gateway began
  for (const [up, down] of seconds.values()) {
    deliveries += up;
    executions += down;
  }
  const first = Math.min(...seconds.keys());
  const whole = state.now / 1000 - first > kept - 30;
  const began = new Date(first * 1000).toLocaleTimeString("en-GB");
  const since = whole ? "in the last 15 minutes" : "since " + began;
  const before = whole || state.all.deliveries <= deliveries ? "" :
    " What came before is counted below, in all that Redis has.";
  byId("deliveries").textContent = number(deliveries);
  byId("deliveries-word").textContent = many(deliveries, "delivery arrived", "deliveries arrived");
  byId("executions").textContent = number(executions);
  byId("executions-word").textContent = many(executions, "was executed", "were executed");
  const spared = Math.max(deliveries - executions, 0);
  const share = deliveries ? Math.floor((1000 * spared) / deliveries) / 10 : 0;
  const text = (!deliveries ? "Nothing has arrived " + since + "." :
    number(spared) + " of them (" + share + " %) " + (state.verdicts.every((v) => v.level === "well") ?
      "never reached the backend: a duplicate gets the one execution's answer." : "were not executed.") +
    (whole ? " Last 15 min." : " Since " + began + ".")) + before;
  byId("sum").textContent = text;
  byId("plot").setAttribute("aria-label", number(deliveries) + " deliveries arrived and " + number(executions) +
    " were executed " + since + ". " + text);
}

const length = (ms) => (ms < 1 ? ms.toFixed(2) + " ms" : ms < 10 ? ms.toFixed(1) + " ms" :
  ms < 1000 ? Math.round(ms) + " ms" : ms < 60000 ? (ms / 1000).toFixed(1) + " s" : Math.round(ms / 60000) + " min");

const ago = (ms) => length(Math.max(state.now - ms, 0)) + " ago";

// fill makes a table's rows of cells. A row that is there already is changed in place, so that it keeps the focus.
function fill(id, rows, none) {
  const body = byId(id).tBodies[0];
  if (rows.length === 0) rows = [[{ text: none, className: "none", span: true }]];
  rows.forEach((cells, i) => {
    const row = body.rows[i] || body.insertRow();
    cells.forEach((cell, j) => {
      const at = row.cells[j] || row.insertCell();
      const text = String(cell.text ?? cell);
      at.className = cell.className || "";
      at.colSpan = cell.span ? 9 : 1;
      if (cell.href) {
        const a = at.firstElementChild || at.appendChild(document.createElement("a"));
        if (a.textContent !== text) a.textContent = text;
        if (a.getAttribute("href") !== cell.href) { a.href = cell.href; a.title = cell.title; }
      } else if (at.textContent !== text || at.firstElementChild) at.textContent = text;
    });
    while (row.cells.length > cells.length) row.deleteCell(-1);
  });
  while (body.rows.length > rows.length) body.deleteRow(-1);
}

const n = (value) => ({ text: typeof value === "number" ? number(value) : value, className: "n" });
const webhook = (of) => ({
  text: (of.tenant && !tenant ? of.tenant + " · " : "") + of.fingerprint.slice(0, 12) + "…", title: of.fingerprint,
  href: "/webhook/" + of.fingerprint + ofTenant(of.tenant),
});

function tables() {
  fill("latency", (state.latency || []).map((l) => [l.outcome.replaceAll("_", " "), n(l.count), n(length(l.p50_ms)),
    n(length(l.p99_ms))]), "no answers");
  fill("hot", (state.hot || []).map((h) => [webhook(h), h.state, n(h.attempt),
    n((h.error ? "≤ " : "") + number(h.duplicates))]),
    tenant ? "none among those with most of all tenants" : "no duplicates");
  const events = (list) => (list || []).map((e) => [webhook(e), e.what, e.reason, n(e.attempt), ago(e.at)]);
  fill("judged", events(state.judged), "none lately: oncegate poisoned and oncegate doubtful list all");
  fill("failures", events(state.failures), tenant ? "none among the latest of all tenants" : "none");
  fill("replicas", state.replicas.map((r) => [r.name, r.health, n(r.rate), n(r.executing), n(r.waiting), r.version,
    ago(r.started * 1000)]), "none");
}

const times = (of) => of.p99_ms && length(of.p50_ms) + ", 99 %: " + length(of.p99_ms); // none in the last minute: 0

function facts() {
  const r = state.redis;
  list("redis", [["address", r.address], ["a call takes", times(r)],
    ["operations a call", r.group_max && Math.round(r.group_p50) + ", at most " + Math.round(r.group_max)],
    ["records", number(r.records)], ["memory", r.memory], ["policy", r.policy],
    ["history", r.history && r.history.slice(0, 12) + "… since " + ago(r.since)],
    ["losses suspected", number(r.losses) + " in 15 minutes"], ["restored", number(r.restored)]]);
  const b = state.backend;
  list("backend", !b ? [["", "The logic runs in the gateway: there is no backend."]] : [
    ["an answer takes", times(b)],
    ["answers", Object.entries(b.codes || {}).map(([code, times]) => code + ": " + number(times)).join(", ") ||
      "none in the last minute"],
    ["circuit breaker", b.breaker_open ? "open on " + b.breaker_open + many(b.breaker_open, " replica", " replicas") :
      "closed"]]);
}

function list(id, entries) {
  const nodes = entries.filter(([, text]) => text).flatMap(([label, text]) => {
    const dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = label;
    dd.textContent = text;
    return [dt, dd];
  });
  byId(id).replaceChildren(...nodes);
}

for (const b of document.querySelectorAll("[data-span]")) {
  b.addEventListener("click", () => { span = Number(b.dataset.span); draw(); });
}
byId("tenant").addEventListener("change", (event) => choose(event.target.value));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot && plot.redraw());
new ResizeObserver(() => draw()).observe(byId("plot"));
connect();
