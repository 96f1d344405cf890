// The page: takes images by choosing, dropping or pasting, sends each to /v1/detect and shows the answer as a card.

import { csvOf } from "./csv.js";
import { droppedEntries, filesOf, imagesOf } from "./folders.js";
import { draw } from "./heatmap.js";

const AT_ONCE = 3, TRIES = 8, SHOWN_PIXELS = 900;
const find = (id) => document.getElementById(id);

let engine = null, token = "", running = 0, asking = null;
const waiting = [], cards = [];

// ---- talking to the server

async function ask(path, options = {}) {
  for (;;) {
    const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
    const answer = await fetch(path, { ...options, headers });
    if (answer.status !== 401) return answer;
    asking ??= askToken().finally(() => { asking = null; });
    await asking;
  }
}

function askToken() {
  const dialog = find("ask");
  find("token").value = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => { token = find("token").value; resolve(); }, { once: true }));
}

async function send(file) {
  for (let tried = 1; ; tried++) {
    const name = encodeURIComponent(file.name.toWellFormed().slice(0, 255));
    const answer = await ask(`v1/detect?lcas=true&name=${name}`, {
      method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" },
    });
    if (answer.status !== 429 || tried === TRIES) return answer.json();
    await new Promise((done) => setTimeout(done, 1000 * Number(answer.headers.get("Retry-After") || 1)));
  }
}

// ---- cards

function add(files) {
  const fresh = [...files];
  if (!fresh.length || !engine) return;
  for (const file of fresh) {
    const node = find("card").content.firstElementChild.cloneNode(true);
    const card = { file, node, record: null, map: null, picture: null, heat: find("heat").checked };
    node.dataset.state = "busy";
    node.querySelector(".name").textContent = file.name;
    node.querySelector(".name").title = file.name;
    node.querySelector(".flip").addEventListener("click", () => { card.heat = !card.heat; paint(card); });
    node.querySelector(".retry").addEventListener("click", () => retry(card));
    node.addEventListener("contentvisibilityautostatechange", () => paint(card));
    watcher.observe(node.querySelector(".view"));
    byView.set(node.querySelector(".view"), card);
    find("results").append(node);
    cards.push(card);
    waiting.push(card);
  }
  find("tools").hidden = false;
  summarise();
  pump();
}

function pump() {
  while (running < AT_ONCE && waiting.length) {
    running++;
    score(waiting.shift()).finally(() => { running--; summarise(); pump(); });
  }
}

async function score(card) {
  card.node.querySelector(".word").textContent = "Scoring";
  const shown = preview(card);
  try {
    const body = await send(card.file);
    await shown;
    if (body.records) [card.record, card.map] = [body.records[0], body.heatmaps?.[0] ?? null];
    else {
      fail(card, body.detail);
      card.retriable = true;
    }
  } catch {
    fail(card, "the server cannot be reached");
    card.retriable = true;
  }
  if (cards.includes(card)) show(card);
}

/** Send a card again whose request failed; the image itself may be fine. */
function retry(card) {
  Object.assign(card, { record: null, retriable: false });
  card.node.dataset.state = "busy";
  card.node.classList.remove("error");
  card.node.querySelector(".retry").hidden = true;
  card.node.querySelector(".why").replaceChildren();
  waiting.push(card);
  summarise();
  pump();
}

const fail = (card, text) => { card.record = { path: card.file.name, status: "error", error: { kind: "unreadable", text }, reasons: [] }; };

/** A small copy to show; null where the browser cannot read the format (the server may). */
async function preview(card) {
  try {
    const whole = await createImageBitmap(card.file);
    const zoom = Math.min(1, SHOWN_PIXELS / Math.max(whole.width, whole.height));
    card.picture = await createImageBitmap(whole, {
      resizeWidth: Math.max(1, Math.round(whole.width * zoom)), resizeHeight: Math.max(1, Math.round(whole.height * zoom)),
      resizeQuality: "high",
    });
    whole.close();
  } catch {
    card.node.querySelector(".blank").hidden = false;
    card.node.querySelector(".blank").textContent = "no preview of this file";
  }
  paint(card);
}

function show(card) {
  const { node, record, map } = card, state = record.status === "ok" ? record.verdict : "error";
  const part = (name) => node.querySelector(name);
  node.dataset.state = state;
  const against = contradictionsOf(record, engine.words), isAgainst = against.length > 0;
  node.classList.add(toneOf(state, isAgainst));
  const why = state === "error" ? [record.error.text] : record.reasons.filter(({ code }) => code !== "band").map((reason) => reason.text); // the words for uncertain say it
  // The rates hold for single images, not for the most suspicious of several frames.
  const rated = (record.frames?.scored.length ?? 1) === 1;
  part(".word").textContent = wordOf(state, isAgainst, { ai: record.run?.false_alarm, real: record.run?.miss }[state]);
  part(".promise").textContent = rated || state === "uncertain" ? engine.words[state] ?? "" : "";
  // The order is that of the report: what the file declares, what the score supports, what qualifies it.
  const facts = (record.evidence ?? []).filter((fact) => fact.kind !== "jpeg_quality");
  part(".against").textContent = against.join("; ");
  card.marks = marksOf(record.evidence ?? []);
  part(".badges").replaceChildren(...card.marks.map((mark) => Object.assign(element("span", mark), { className: mark === "declares AI" ? "badge ai" : "badge" })));
  const steps = nextOf(state, isAgainst, card.marks).map((code) => engine.words[`next_${code}`]);
  part(".next").textContent = steps.length ? `Next: ${steps.map((step) => step.split(":")[0].toLowerCase()).join(", ")}` : "";
  part(".told").replaceChildren(...facts.map((fact) => element("li", fact.statement)));
  part(".why").replaceChildren(...why.map((text) => element("li", text)));
  if (state !== "error") {
    part(".score").hidden = false;
    part(".support").textContent = record.likelihood_ratio?.text ?? chanceOf(record);
    part(".place").replaceChildren();
    drawSpread(part(".place"), engine.spread, record.run, record.logit);
    markRatios(part(".ratios"), engine.spread);
    part("details").hidden = false;
    const lines = [...details(record), ...steps.map((step) => ["what next", step])];
    part("dl").replaceChildren(...lines.flatMap(([name, value, raw]) => [element("dt", name), described(value, raw)]));
  }
  part(".flip").hidden = !map;
  part(".retry").hidden = !card.retriable;
  if (map) legend(map);
  paint(card);
  find("live").textContent = `${record.path}: ${part(".word").textContent}${state === "error" ? "" : `, ${part(".support").textContent}`}`;
}

const chanceOf = (record) => `${(100 * record.probability).toFixed(1)} % probability of AI, ${engine.words.prior}`;
const details = (record) => [
  ["P(AI)", chanceOf(record)], ["verdicts", decisionOf(record.run)], ["size", `${record.width} x ${record.height}`], ["logit", record.logit.toFixed(4)],
  ["s1, s2, s3", [record.stats.s1, record.stats.s2, record.stats.s3].map(shortNumber).join(", ")],
  ...record.evidence.map((fact) => ["in the file", `${fact.statement} [${fact.source}]`, fact.raw]),
  ["SHA-256", record.sha256], ["engine", record.run.engine],
];

/** A description, with the raw text of a fact behind a click. */
function described(text, raw) {
  const cell = element("dd", text);
  if (raw) {
    const more = document.createElement("details");
    more.append(element("summary", "as it stands in the file"), element("pre", raw));
    cell.append(more);
  }
  return cell;
}

function element(kind, text) {
  const made = document.createElement(kind);
  made.textContent = text;
  return made;
}

function paint(card) {
  const view = card.node.querySelector(".view"), on = card.heat && card.map;
  card.node.querySelector(".flip").setAttribute("aria-pressed", String(Boolean(on)));
  view.setAttribute("aria-label", on ? `${card.file.name} with its contextual anomaly map` : card.file.name);
  const record = card.record?.width ? card.record : null;
  if (card.picture || (record && on)) {
    card.node.querySelector(".blank").hidden = true;
    // A browser shows the first frame; the map of another frame is drawn without it.
    draw(view, engine, on && record?.frames?.verdict_from ? null : card.picture, record, on ? card.map : null);
  }
}

const byView = new WeakMap();
const watcher = new ResizeObserver((entries) => {
  for (const { target } of entries) if (byView.has(target)) paint(byView.get(target));
});

// ---- the page around them

function summarise() {
  const done = cards.filter((card) => card.record);
  const many = (state) => done.filter((card) => card.node.dataset.state === state).length;
  const declared = done.filter((card) => card.marks?.includes("declares AI")).length;
  const parts = VERDICTS.filter(many).map((state) => `${many(state)} ${LABEL[state]}`);
  if (declared) parts.push(`${declared} ${declared === 1 ? "file declares" : "files declare"} AI`);
  find("count").textContent = `${done.length} of ${cards.length} done` + (parts.length ? `: ${parts.join(", ")}` : "");
  find("save").disabled = find("save-csv").disabled = !done.length;
}

function legend(map) {
  const range = engine.heatmap_range;
  find("legend").hidden = false;
  if (map.lcas.includes(null)) find("hatched").textContent = " Hatched patches were never masked.";
  find("scale-note").textContent = scaleNote(range);
  [find("low").textContent, find("middle").textContent, find("high").textContent] = range
    ? [range[0], (range[0] + range[1]) / 2, range[1]].map(shortNumber) : ["low", "", "high"];
}

/** Save what `write` makes of the records as a file. */
function save(name, type, write) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([write(cards.filter((card) => card.record).map((card) => card.record))], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function clear() {
  waiting.length = 0;
  for (const card of cards.splice(0)) card.picture?.close();
  find("results").replaceChildren();
  find("tools").hidden = find("legend").hidden = true;
  find("live").textContent = "All results cleared";
  find("files").focus();
}

function theme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme || (dark ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
}

const drop = find("drop");
let inside = 0;
async function addDropped({ items, files }) {
  const entries = droppedEntries(items);
  add(entries.length ? await filesOf(entries, engine.image_suffixes) : files);
}
addEventListener("dragenter", (event) => { event.preventDefault(); inside++; drop.classList.add("over"); });
addEventListener("dragleave", () => { inside = Math.max(0, inside - 1); if (!inside) drop.classList.remove("over"); });
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => { event.preventDefault(); inside = 0; drop.classList.remove("over"); addDropped(event.dataTransfer); });
addEventListener("paste", (event) => add(event.clipboardData.files));
find("files").addEventListener("change", (event) => { add(event.target.files); event.target.value = ""; });
find("heat").addEventListener("change", (event) => { for (const card of cards) { card.heat = event.target.checked; paint(card); } });
find("folder").addEventListener("change", (event) => { add(imagesOf(event.target.files, engine.image_suffixes)); event.target.value = ""; });
find("save").addEventListener("click", () => save("cinemae-records.jsonl", "application/x-ndjson", (all) => all.map((record) => JSON.stringify(record) + "\n").join("")));
find("save-csv").addEventListener("click", () => save("cinemae-records.csv", "text/csv", (all) => csvOf(all, engine.csv_columns)));
find("clear").addEventListener("click", clear);
find("sample")?.addEventListener("click", async () => add([new File([await (await ask("sample.jpg")).blob()], "sample.jpg")]));
find("theme").addEventListener("click", theme);

try {
  engine = await (await ask("v1/engine")).json();
  find("banner").hidden = !engine.demonstration;
  find("engine").textContent = `Engine: ${engine.run.engine}. Licence: ${engine.licence}.`;
  find("reading").textContent = `${engine.words.caveat} Probabilities are given ${engine.words.prior}.`.trim();
  find("caption").textContent = engine.heatmap_caption;
  find("caveat").textContent = engine.heatmap_caveat;
  const { max_file_bytes: bytes, max_pixels: pixels } = engine.limits;
  find("limits").textContent = ` At most ${Math.round(bytes / 2 ** 20)} MB and ${Math.round(pixels / 1e6)} megapixels each.`;
  drawColourBar(find("bar"), engine.colours, engine.heatmap_opacity);
  document.documentElement.dataset.ready = "true";
} catch {
  find("live").classList.remove("unseen");
  find("live").textContent = "The server cannot be reached. Reload the page to try again.";
}
