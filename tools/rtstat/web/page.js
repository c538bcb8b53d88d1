"use strict";
// Draws what the server says. Names come from shared memory, so they are set as text only.

const KEPT = 600; // readings that are kept of each channel: ten minutes
const SHOWN = 300; // channels in the table
const STALE_MS = 5000, RETRY_MS = 5000;
const WIDTH = 640, HEIGHT = 180, LEFT = 58, RIGHT = 10, TOP = 12, BOTTOM = 24;
const RANKS = ["broken", "troubled", "ok"];
const histories = new Map(); // by key of the channel: [time in s, values by field] of each reading
const SORTED_BY = { channel: "key", state: "badness" }; // other columns: by their field
let shown = { columns: [], charts: [] }; // what the server says
let chosen = "";
let sorting = { field: "badness", descending: true };
let troublesShown = "";
let latest = null;
let latestMs = 0;

const $ = (id) => document.getElementById(id);

function add(parent, tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  parent.append(made);
  return made;
}

function draw(parent, tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

// --- numbers -------------------------------------------------------------------------------------

function quantity(value, units) {
  for (const [size, unit] of units) {
    if (Math.abs(value) >= size) return `${Number((value / size).toPrecision(3))}${unit}`;
  }
  return String(value >= 100 ? Math.round(value) : Number(value.toPrecision(3)));
}

const WHOLE = [];
const DURATIONS = [[1e9, " s"], [1e6, " ms"], [1e3, " µs"], [1, " ns"]];
const COUNTS = [[1e9, " G"], [1e6, " M"], [1e3, " k"]];
const duration = (ns) => (ns == null ? "·" : ns === 0 ? "0" : quantity(ns, DURATIONS));
const count = (value) => (value == null ? "·" : quantity(value, value < 1e4 ? WHOLE : COUNTS));

function percent(share) {
  return share == null ? "·" : `${Number((100 * share).toPrecision(2))} %`;
}

const WRITERS = { ns: duration, share: percent };

function written(channel, { field, unit }) {
  const text = (WRITERS[unit] || count)(channel[field]);
  if (field !== "lost_pps" || !channel.lost_pps) return text;
  const all = channel.tx_pps + channel.rx_pps + channel.lost_pps;
  return `${text} (${percent(channel.lost_pps / all)})`;
}

// --- the list of troubles, which the server made -------------------------------------------------

const keyOf = (channel) => `${channel.namespace}/${channel.name}`;

// Says of each channel how bad its worst trouble is, or that of its worker or its pool: the earlier
// in the list, the worse. Without a trouble: 0.
function judge(reading) {
  const places = new Map();
  reading.troubles.forEach((trouble, place) => {
    if (!places.has(trouble.subject)) places.set(trouble.subject, place);
  });
  const none = reading.troubles.length;
  for (const channel of reading.channels) {
    const pool = `${channel.namespace}/${channel.pool}:`;
    const subjects = [keyOf(channel), `${pool}${channel.worker_slot}`, pool];
    const place = Math.min(...subjects.map((subject) => places.get(subject) ?? none));
    channel.badness = none - place;
    channel.severity = channel.badness ? reading.troubles[place].severity : "ok";
  }
}

function showVerdict(reading) {
  $("verdict").className = reading.verdict;
  const empty = !reading.pools?.length && !reading.channels.length;
  const word = empty && reading.verdict === "ok" ? "nothing to judge" : reading.verdict;
  $("word").textContent = word;
  const counts = RANKS.slice(0, 2)
    .map((rank) => [reading.troubles.filter((trouble) => trouble.severity === rank).length, rank])
    .filter(([number]) => number)
    .map(([number, rank]) => `${number} ${rank}`);
  $("summary").textContent = counts.join(", ") || "no trouble";
  document.title = `${word}: shmring on ${reading.host}`;
}

function showAge() {
  if (!latest) return;
  const age = Date.now() - latestMs;
  const read = new Date(latest.time_ns / 1e6).toLocaleTimeString();
  const where = `${latest.host}, ${latest.channels.length} channels, read at ${read}`;
  const old = age > STALE_MS;
  $("when").textContent = old ? `no reading for ${Math.round(age / 1000)} s. ${where}` : where;
  if (old) {
    $("verdict").className = "waiting";
    $("word").textContent = "unknown";
  }
}

function showTroubles(reading) {
  const same = JSON.stringify(reading.troubles);
  if (same === troublesShown) return; // keeps what a person has marked
  troublesShown = same;
  const list = $("troubles");
  list.replaceChildren();
  for (const trouble of reading.troubles.slice(0, SHOWN)) {
    const item = add(list, "li", undefined, trouble.severity);
    const head = add(item, "p");
    add(head, "span", trouble.severity, `badge ${trouble.severity}`);
    head.append(" ");
    add(head, "strong", `${trouble.name} ${trouble.subject}`);
    add(item, "p", trouble.text);
    add(item, "p", `Fix: ${trouble.fix}`, "fix");
  }
  if (!reading.troubles.length) add(list, "li", "none", "ok");
}

// --- the channels --------------------------------------------------------------------------------

// Sorts by the chosen column. What has no value is last, and equal rows keep the server's order.
function inOrder(channels) {
  const sign = sorting.descending ? -1 : 1;
  return [...channels].sort((a, b) => {
    const one = a[sorting.field], other = b[sorting.field];
    if (one == null || other == null) return (one == null) - (other == null);
    return one === other ? 0 : one < other ? -sign : sign;
  });
}

function sortBy(field) {
  const again = sorting.field === field;
  sorting = { field, descending: again ? !sorting.descending : field !== "key" };
  showHeads();
  if (latest) showChannels(latest);
}

function makeHeads() {
  for (const { field, head } of shown.columns) {
    const cell = add($("heads"), "th", undefined, field in SORTED_BY ? "" : "number");
    cell.setAttribute("scope", "col");
    const button = add(cell, "button", head);
    button.dataset.field = SORTED_BY[field] || field;
    button.addEventListener("click", () => sortBy(button.dataset.field));
  }
  showHeads();
}

function showHeads() {
  for (const button of document.querySelectorAll("th button")) {
    const here = button.dataset.field === sorting.field;
    const order = sorting.descending ? "descending" : "ascending";
    button.parentElement.setAttribute("aria-sort", here ? order : "none");
  }
}

function showChannels(reading) {
  const rows = inOrder(reading.channels);
  const focused = document.activeElement && document.activeElement.dataset.key;
  const body = $("channels");
  body.replaceChildren();
  for (const channel of rows.slice(0, SHOWN)) {
    const button = showChannel(body, channel);
    if (button.dataset.key === focused) button.focus({ preventScroll: true });
  }
  const left = rows.length - SHOWN;
  $("more").textContent = left > 0 ? `${left} more: choose some with rtstat --channel PATTERN` : "";
}

function showChannel(body, channel) {
  const row = add(body, "tr");
  row.setAttribute("aria-selected", String(keyOf(channel) === chosen));
  const button = add(add(row, "td"), "button", keyOf(channel));
  button.dataset.key = keyOf(channel);
  button.title = keyOf(channel);
  button.addEventListener("click", () => choose(keyOf(channel)));
  const state = channel.health === "ok" ? channel.state : channel.health;
  const severity = channel.severity;
  add(add(row, "td"), "span", severity === "ok" ? state : `${severity}: ${state}`,
    `badge ${severity}`);
  for (const column of shown.columns) {
    if (!(column.field in SORTED_BY)) add(row, "td", written(channel, column), "number");
  }
  return button;
}

function choose(key) {
  chosen = chosen === key ? "" : key;
  showChannels(latest);
  showDetail();
  if (chosen) $("detail").scrollIntoView({ behavior: "smooth" });
}

function remember(reading) {
  const seen = new Set();
  judge(reading);
  for (const channel of reading.channels) {
    const key = channel.key = keyOf(channel);
    seen.add(key);
    if (!channel.lateness_interval_count) {
      channel.lateness_interval_p99_ns = channel.lateness_interval_p50_ns = null;
    }
    if (!histories.has(key)) histories.set(key, []);
    const history = histories.get(key);
    const fields = shown.charts.flatMap((chart) => chart.lines.map((line) => line.field));
    history.push([reading.time_ns / 1e9,
      Object.fromEntries(fields.map((field) => [field, channel[field]]))]);
    if (history.length > KEPT) history.shift();
  }
  for (const key of histories.keys()) if (!seen.has(key)) histories.delete(key);
}

// --- one channel ---------------------------------------------------------------------------------

async function showDetail() {
  const channel = latest.channels.find((one) => keyOf(one) === chosen);
  $("detail").hidden = !channel;
  if (!channel) return;
  const key = chosen;
  $("detail-title").textContent = key;
  $("facts").textContent = `${channel.engine}, ${channel.direction}, pool ${channel.pool}, ` +
    `tolerance ${duration(channel.tolerance_ns)}, ` +
    `${channel.readers} readers, ${channel.producers} producers, ${count(channel.late)} late and ` +
    `${count(channel.lost)} lost so far`;
  const history = histories.get(key) || [];
  for (const chart of shown.charts) showChart(chart, history, channel[chart.limit]);
  const reply = await fetch(`lateness?channel=${encodeURIComponent(key)}`);
  if (reply.ok && key === chosen) showHistogram(await reply.json());
}

function frame(svg) {
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  const bottom = HEIGHT - BOTTOM;
  draw(svg, "path", { class: "grid", d: `M${LEFT} ${TOP}V${bottom}H${WIDTH - RIGHT}` });
}

function nothing(svg, text) {
  draw(svg, "text", { x: WIDTH / 2, y: HEIGHT / 2, "text-anchor": "middle" }, text);
}

const logOf = (ns) => Math.log10(Math.max(ns, 1));

// Columns of a third of a decade (1, 2, 5, 10 ...).
function grouped(buckets) {
  const columns = new Map();
  for (const [upper, entries] of buckets) {
    const column = Math.floor(3 * logOf(upper));
    columns.set(column, (columns.get(column) || 0) + entries);
  }
  return columns;
}

function showHistogram(found) {
  const svg = $("histogram");
  frame(svg);
  const since = grouped(found.since), now = grouped(found.now);
  if (!since.size) return nothing(svg, "no packet with a deadline yet");
  const limit = 3 * logOf(found.tolerance_ns);
  const columns = [...since.keys(), ...(found.tolerance_ns ? [Math.floor(limit)] : [])];
  const first = 3 * Math.floor((Math.min(...columns)) / 3), last = Math.max(...columns) + 1;
  const x = (column) => LEFT + ((WIDTH - LEFT - RIGHT) * (column - first)) / (last - first);
  const decades = Math.max(1, Math.log10(Math.max(...since.values())));
  const y = (entries) => HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * Math.log10(entries + 1) /
    Math.log10(10 ** decades + 1);
  for (const [columns_, kind, inset] of [[since, "since", 1], [now, "now", 4]]) {
    for (const [column, entries] of columns_) {
      const top = y(entries);
      draw(svg, "rect", { class: `bar ${kind}`, x: x(column) + inset, y: top,
        width: Math.max(1, x(column + 1) - x(column) - 2 * inset), height: HEIGHT - BOTTOM - top });
    }
  }
  for (let decade = first; decade <= last; decade += 3) {
    draw(svg, "text", { x: x(decade), y: HEIGHT - 8, "text-anchor": "middle" },
      duration(10 ** (decade / 3)));
  }
  for (let entries = 1; entries <= 10 ** decades; entries *= entries < 1000 ? 10 : 1000) {
    draw(svg, "text", { x: LEFT - 5, y: y(entries) + 4, "text-anchor": "end" }, quantity(entries, COUNTS));
  }
  if (found.tolerance_ns) marked(svg, `M${x(limit)} ${TOP}V${HEIGHT - BOTTOM}`);
}

function marked(svg, d) {
  draw(svg, "path", { class: "limit", d });
}

// --- charts over time ----------------------------------------------------------------------------

function makeCharts() {
  for (const chart of shown.charts) {
    add($("charts"), "h3", chart.title);
    const svg = draw($("charts"), "svg", { id: chart.id, role: "img", "aria-label": chart.title });
    const legend = add($("charts"), "p", undefined, "legend");
    const limit = chart.limit ? [{ kind: "limit", label: "tolerance" }] : [];
    for (const line of [...chart.lines, ...limit]) {
      add(legend, "span", undefined, `key ${line.kind}`);
      legend.append(` ${line.label} `);
    }
    chart.svg = svg;
  }
}

function showChart(chart, history, limit) {
  const { svg, lines } = chart;
  frame(svg);
  const values = history.flatMap(([, row]) => lines.map((line) => row[line.field]))
    .filter((value) => value != null);
  if (!values.length) return nothing(svg, chart.empty);
  if (limit) values.push(limit);
  const scale = chart.scale === "log" ? logOf : (value) => value;
  let low = 0, high = Math.max(1, ...values), steps = [0, high / 2, high];
  if (chart.scale === "log") {
    low = Math.floor(Math.min(...values.map(logOf)));
    high = Math.max(low + 1, Math.ceil(Math.max(...values.map(logOf))));
    steps = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i));
  }
  const y = (value) => HEIGHT - BOTTOM -
    ((HEIGHT - BOTTOM - TOP) * (Math.max(scale(value), low) - low)) / (high - low);
  const units = chart.unit === "ns" ? DURATIONS : COUNTS;
  for (const step of steps) {
    draw(svg, "text", { x: LEFT - 5, y: y(step) + 4, "text-anchor": "end" }, quantity(step, units));
  }
  drawLines(svg, history, lines, y);
  if (limit) marked(svg, `M${LEFT} ${y(limit)}H${WIDTH - RIGHT}`);
}

function drawLines(svg, history, lines, y) {
  const end = history.at(-1)[0];
  const span = Math.max(60, end - history[0][0]);
  const x = (time) => WIDTH - RIGHT - ((WIDTH - LEFT - RIGHT) * (end - time)) / span;
  for (const { field, kind } of lines) {
    let d = "", pen = "M";
    for (const [time, row] of history) {
      if (row[field] == null) pen = "M";
      else {
        d += `${pen}${x(time).toFixed(1)} ${y(row[field]).toFixed(1)}`;
        pen = "L";
      }
    }
    draw(svg, "path", { class: kind, d });
  }
  for (const share of [0, 0.5, 1]) {
    const back = Math.round(span * (1 - share));
    draw(svg, "text", { x: x(end - back), y: HEIGHT - 8,
      "text-anchor": share === 0 ? "start" : share === 1 ? "end" : "middle" },
      back ? `−${back} s` : "now");
  }
}

// --- readings ------------------------------------------------------------------------------------

function show() {
  showVerdict(latest);
  showAge();
  showTroubles(latest);
  showChannels(latest);
  showDetail();
}

function listen() {
  const source = new EventSource("events");
  source.addEventListener("message", (event) => {
    const reading = JSON.parse(event.data);
    remember(reading);
    latest = reading;
    latestMs = Date.now();
    if (!document.hidden) show();
  });
  source.addEventListener("error", () => {
    // A browser tries again by itself, but not after a refusal.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_MS);
  });
}

document.addEventListener("visibilitychange", () => {
  if (latest && !document.hidden) show();
});
async function begin() {
  shown = await (await fetch("shown.json")).json();
  makeHeads();
  makeCharts();
  listen();
}

setInterval(showAge, 1000);
begin();
