"use strict";
const THUMB = "data:image/jpeg;base64,";
const PRINT_LIMIT = 2000;
const SIDE = { ai: "above the threshold of ", real: "below the threshold of ", uncertain: "too close to the threshold of " };
const number = new Intl.NumberFormat("en");

// ---- small builders ------------------------------------------------------------------------------------------------
function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}
function shape(tag, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}
const percent = (p) => (p > 0 && p < 0.01 ? "< 1" : p < 1 && p > 0.99 ? "> 99" : String(Math.round(p * 100))) + "\u2009%";
const baseName = (path) => path.split(/[\\/]/).pop() || path;

function pictureBox(row, hot) {
  const box = make("span", "picture");
  const [thumb] = pictureOf(row);
  if (!thumb) box.append(make("span", "empty", row.kind === "error" ? "\u2715" : "\u25A1"));
  else {
    const image = new Image();
    image.alt = "";
    image.decoding = "async";
    image.src = THUMB + thumb;
    box.append(image);
  }
  if (hot) heatOn(box, row);
  return box;
}
function heatOn(box, row) {
  if (!row.m) return;
  let canvas = box.querySelector("canvas");
  if (!canvas) { canvas = make("canvas"); canvas.setAttribute("aria-hidden", "true"); paint(canvas, row); box.append(canvas); }
  box.classList.add("hot");
}
const heatOff = (box) => box.classList.remove("hot");

function cardOf(row) {
  const card = make("div", "card " + row.kind);
  card.setAttribute("role", "listitem");
  card.dataset.index = row.index;
  card.tabIndex = -1;
  const chance = row.q === undefined ? "" : percent(row.q);
  card.setAttribute("aria-label", LABEL[row.kind] + (chance ? ", " + chance + " AI" : "") + ", " + baseName(row.p));
  const box = pictureBox(row, state.heat);
  const facts = make("div", "facts"), line = make("div", "line"), meter = make("div", "meter");
  line.append(make("span", "tag", LABEL[row.kind]), make("span", "chance", chance));
  if (row.q !== undefined) {
    const bar = make("i"), mark = make("u");
    bar.style.width = row.q * 100 + "%";
    mark.style.left = info.threshold * 100 + "%";
    meter.append(bar, mark);
  }
  const name = make("div", "name"), file = baseName(row.p);
  name.append(make("span", "file", file), make("span", "folder", row.p.slice(0, row.p.length - file.length)));
  name.title = row.p;
  facts.append(line, meter, name, make("div", "why", row.e || (row.r || []).join("; ")));
  facts.classList.add(row.kind);
  line.classList.add(row.kind);
  card.append(box, facts);
  const on = () => heatOn(box, row), off = () => { if (!state.heat && !card.matches(":hover, :focus")) heatOff(box); };
  card.addEventListener("mouseenter", on);
  card.addEventListener("focus", on);
  card.addEventListener("mouseleave", off);
  card.addEventListener("blur", off);
  card.addEventListener("click", () => openDetail(state.shown.indexOf(row)));
  return card;
}

// ---- state: filter and sort ----------------------------------------------------------------------------------------
const state = { verdicts: new Set(VERDICTS), text: "", from: 0, to: 100, sort: "order", heat: false, list: false, shown: rows, focus: 0 };
// A sort is a key and a direction; rows without the key (files that could not be read) come last.
const KEYS = {
  order: [(row) => row.index, 1], high: [(row) => row.q, -1], low: [(row) => row.q, 1], close: [(row) => distance(row), 1],
  anomaly: [(row) => row.s && row.s[1], -1], name: [(row) => row.p, 1],
};
const distance = (row) => (row.l === undefined ? undefined : Math.abs(row.l - info.thresholdLogit));
function compare(a, b) {
  const [key, sign] = KEYS[state.sort], x = key(a), y = key(b);
  if (x === y) return a.index - b.index;
  if (x === undefined || y === undefined) return x === undefined ? 1 : -1;
  return x < y ? -sign : sign;
}

function update() {
  const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  const whole = state.from === 0 && state.to === 100;
  const inside = (row) => whole || (row.q !== undefined && row.q * 100 >= state.from && row.q * 100 <= state.to);
  const matches = rows.filter((row) => inside(row) && words.every((word) => row.search.includes(word)));
  state.shown = matches.filter((row) => state.verdicts.has(row.kind));
  state.shown.sort(compare);
  state.focus = 0;
  byId("count").textContent = number.format(state.shown.length) + " of " + number.format(rows.length) + (rows.length === 1 ? " image" : " images");
  byId("nothing").hidden = state.shown.length > 0;
  for (const button of byId("verdicts").children) button.setAttribute("aria-pressed", String(state.verdicts.has(button.dataset.kind)));
  byId("range").textContent = state.from + " to " + state.to + " %";
  for (const card of cards.values()) card.remove();
  cards.clear();
  draw();
}

// ---- the grid: only what is near the window exists -----------------------------------------------------------------
const grid = byId("grid");
const cards = new Map();
const GAP = 16;
let columns = 1, width = 0, height = 0, printing = false;

function measure() {
  const room = grid.clientWidth;
  columns = state.list ? 1 : Math.max(2, Math.floor((room + GAP) / (208 + GAP)));
  width = (room - GAP * (columns - 1)) / columns;
  height = state.list ? 84 : Math.round(width) + 110;
}

function draw() {
  if (printing) return;
  measure();
  const gap = state.list ? 8 : GAP, pitch = height + gap, total = Math.ceil(state.shown.length / columns);
  grid.style.height = Math.max(0, total * pitch - gap) + "px";
  const top = -grid.getBoundingClientRect().top;
  const first = Math.max(0, Math.floor(top / pitch) - 2) * columns;
  const end = Math.min(state.shown.length, (Math.ceil((top + innerHeight) / pitch) + 2) * columns);
  const wanted = new Set();
  for (let i = first; i < end; i++) wanted.add(i);
  if (state.focus < state.shown.length) wanted.add(state.focus);
  for (const [i, card] of cards) if (!wanted.has(i)) { card.remove(); cards.delete(i); }
  for (const i of [...wanted].sort((a, b) => a - b)) {
    let card = cards.get(i);
    if (!card) {
      card = cardOf(state.shown[i]);
      card.setAttribute("aria-setsize", state.shown.length);
      card.setAttribute("aria-posinset", i + 1);
      cards.set(i, card);
      insertInOrder(card, i);
    }
    card.tabIndex = i === state.focus ? 0 : -1;
    card.style.width = width + "px";
    card.style.height = height + "px";
    card.style.transform = "translate(" + (i % columns) * (width + gap) + "px," + Math.floor(i / columns) * pitch + "px)";
  }
}
// Reading order is screen order, whichever way cards came in.
function insertInOrder(card, place) {
  const after = [...grid.children].find((other) => Number(other.getAttribute("aria-posinset")) > place + 1);
  grid.insertBefore(card, after || null);
}
let queued = false;
function queue() {
  if (queued) return;
  queued = true;
  requestAnimationFrame(() => { queued = false; draw(); });
}
function focusOn(place) {
  state.focus = Math.min(state.shown.length - 1, Math.max(0, place));
  const pitch = height + (state.list ? 8 : GAP), y = grid.getBoundingClientRect().top + Math.floor(state.focus / columns) * pitch;
  const head = document.querySelector(".tools").offsetHeight + 8;
  if (y < head) scrollBy(0, y - head);
  else if (y + height > innerHeight) scrollBy(0, y + height - innerHeight + 8);
  draw();
  cards.get(state.focus)?.focus({ preventScroll: true });
}
grid.addEventListener("focusin", (event) => {
  const place = Number(event.target.getAttribute("aria-posinset")) - 1;
  if (place >= 0 && place !== state.focus) { state.focus = place; for (const [i, card] of cards) card.tabIndex = i === place ? 0 : -1; }
});
grid.addEventListener("keydown", (event) => {
  const page = columns * Math.max(1, Math.floor(innerHeight / height));
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, PageDown: page, PageUp: -page }[event.key];
  if (step) focusOn(state.focus + step);
  else if (event.key === "Home") focusOn(0);
  else if (event.key === "End") focusOn(state.shown.length - 1);
  else if (event.key === "Enter" || event.key === " ") openDetail(state.focus);
  else return;
  event.preventDefault();
});

// ---- one image in full ---------------------------------------------------------------------------------------------
const dialog = byId("detail");
let open = 0;
function openDetail(place) {
  if (place < 0 || place >= state.shown.length) return;
  open = place;
  const row = state.shown[place], body = byId("detail-body");
  byId("detail-name").textContent = baseName(row.p);
  byId("place").textContent = number.format(place + 1) + " of " + number.format(state.shown.length);
  body.replaceChildren();
  if (row.m) body.append(pairOf(row));
  else if (row.e === undefined) body.append(pictureBox(row, false));
  const verdict = make("p", "verdictline");
  verdict.append(make("span", "tag " + row.kind, LABEL[row.kind]));
  if (row.q !== undefined) verdict.append(make("strong", "", percent(row.q)), make("span", "", "probability of AI, " + SIDE[row.kind] + percent(info.threshold)));
  verdict.classList.add(row.kind);
  const list = make("dl");
  const add = (term, value) => value !== undefined && value !== "" && list.append(make("dt", "", term), make("dd", "", value));
  add("Why", (row.r || []).join("; "));
  add("Error", row.e);
  add("Logit", row.l === undefined ? undefined : row.l.toFixed(4) + " (threshold " + info.thresholdLogit.toFixed(4) + ")");
  if (row.s) add("Statistics", "variability s1 " + row.s[0].toPrecision(4) + ", anomaly s2 " + row.s[1].toPrecision(4) + ", sensitivity s3 " + row.s[2].toPrecision(4));
  add("Size", row.w ? row.w + " \u00d7 " + row.h + " pixels" : undefined);
  add("Path", row.p);
  if (row.f) {
    const link = make("a", "", "open the original");
    link.href = row.f;
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    const cell = make("dd");
    cell.append(link);
    list.append(make("dt", "", "File"), cell);
  }
  body.append(verdict, list);
  byId("previous").disabled = place === 0;
  byId("next").disabled = place === state.shown.length - 1;
  if (!dialog.open) dialog.showModal();
}
function pairOf(row) {
  const pair = make("div", "pair"), left = make("figure"), right = make("figure"), reading = make("output");
  left.append(pictureBox(row, false), make("figcaption", "", "What the network saw"));
  const hot = pictureBox(row, true), caption = make("figcaption", "", "Contextual anomaly (LCAS)"), bar = make("canvas", "colours"), ends = make("div", "ends");
  caption.prepend(reading);
  bar.width = 256;
  bar.height = 1;
  const context = bar.getContext("2d");
  context.fillStyle = "#808080"; // blended as in the picture: the colours of the bar are the ones seen there
  context.fillRect(0, 0, 256, 1);
  context.globalAlpha = 0.62;
  for (let i = 0; i < 256; i++) {
    context.fillStyle = colourOf(i);
    context.fillRect(i, 0, 1, 1);
  }
  const [low, high] = scaleOf(row), show = (value) => String(Number(value.toPrecision(3)));
  ends.append(make("span", "", show(low)), make("span", "", info.scale ? "one scale for all images" : "scaled to this image alone"), make("span", "", show(high)));
  right.append(hot, caption, bar, ends);
  const values = lcasOf(row), side = Math.round(Math.sqrt(values.length));
  hot.addEventListener("mousemove", (event) => {
    const box = hot.getBoundingClientRect(), at = (p) => Math.min(side - 1, Math.max(0, Math.floor(p * side)));
    const value = values[at((event.clientY - box.top) / box.height) * side + at((event.clientX - box.left) / box.width)];
    reading.textContent = Number.isNaN(value) ? "never masked" : show(value);
  });
  hot.addEventListener("mouseleave", () => { reading.textContent = ""; });
  pair.append(left, right);
  return pair;
}
dialog.addEventListener("close", () => { if (state.shown.length) focusOn(open); });
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("keydown", (event) => {
  if (event.key === "ArrowRight") openDetail(open + 1);
  else if (event.key === "ArrowLeft") openDetail(open - 1);
});
byId("previous").addEventListener("click", () => openDetail(open - 1));
byId("next").addEventListener("click", () => openDetail(open + 1));

// ---- head of the page ----------------------------------------------------------------------------------------------
function head() {
  byId("title").textContent = info.title;
  byId("byline").textContent = [number.format(rows.length) + (rows.length === 1 ? " image" : " images"), "engine " + info.engine, info.provider, info.when, info.version && "cinemae " + info.version,
    info.pictures && "pictures of the first " + number.format(info.pictures) + " only"]
    .filter(Boolean).join("  \u00b7  ");
  byId("demonstration").hidden = !info.demonstration;
  const band = info.band[0] < info.band[1] ? ", uncertain from " + percent(info.band[0]) + " to " + percent(info.band[1]) : "";
  byId("decision").textContent = "(threshold " + percent(info.threshold) + band + ")";
  byId("scale").textContent = info.scale
    ? "Colours run from LCAS " + Number(info.scale[0].toPrecision(3)) + " to " + Number(info.scale[1].toPrecision(3)) + " in every image."
    : "This engine stores no fixed scale: every heatmap is scaled to its own image, so colours of two images do not compare.";
  for (const kind of VERDICTS) {
    const count = rows.reduce((sum, row) => sum + (row.kind === kind), 0);
    if (kind === "error" && !count) continue;
    const button = make("button", "verdict " + kind);
    button.type = "button";
    button.dataset.kind = kind;
    button.append(make("b", "", number.format(count)), make("span", "tag " + kind, LABEL[kind]), make("small", "", rows.length ? percent(count / rows.length) : ""));
    button.addEventListener("click", () => { toggleVerdict(kind); });
    byId("verdicts").append(button);
  }
  const failed = rows.filter((row) => row.e !== undefined), box = byId("errors");
  box.hidden = !failed.length;
  box.querySelector("summary").textContent = number.format(failed.length) + (failed.length === 1 ? " file" : " files") + " could not be read";
  for (const row of failed.slice(0, 500)) box.querySelector("ol").append(make("li", "", row.e.includes(row.p) ? row.e : row.p + ": " + row.e));
  if (failed.length > 500) box.querySelector("ol").append(make("li", "", "and " + number.format(failed.length - 500) + " more"));
  histogram();
}
// The first click on a verdict shows it alone; further clicks add and remove; taking the last away shows all.
function toggleVerdict(kind) {
  if (state.verdicts.size === VERDICTS.length) state.verdicts = new Set([kind]);
  else if (!state.verdicts.delete(kind)) state.verdicts.add(kind);
  if (!state.verdicts.size) state.verdicts = new Set(VERDICTS);
  update();
}
function histogram() {
  const bins = 50, svg = byId("histogram"), counts = Array.from({ length: bins }, () => ({ real: 0, uncertain: 0, ai: 0 }));
  for (const row of rows) if (row.q !== undefined) counts[Math.min(bins - 1, Math.floor(row.q * bins))][row.kind]++;
  const peak = Math.max(1, ...counts.map((bin) => bin.real + bin.uncertain + bin.ai));
  svg.append(shape("rect", { class: "band", x: info.band[0] * 400, y: 0, width: Math.max(0, info.band[1] - info.band[0]) * 400, height: 84 }));
  counts.forEach((bin, i) => {
    let y = 84;
    for (const kind of ["real", "uncertain", "ai"]) {
      const tall = bin[kind] && Math.max(1, (bin[kind] / peak) * 80);
      y -= tall;
      if (tall) svg.append(shape("rect", { class: kind, x: i * 8 + 0.5, y, width: 7, height: tall }));
    }
  });
  svg.append(shape("line", { class: "mark", x1: info.threshold * 400, x2: info.threshold * 400, y1: 0, y2: 84 }));
}

// ---- controls ------------------------------------------------------------------------------------------------------
function press(id, key, redraw) {
  state[key] = !state[key];
  byId(id).setAttribute("aria-pressed", String(state[key]));
  redraw();
}
const toggleHeat = () => press("heat", "heat", () => {
  for (const [i, card] of cards) {
    const box = card.querySelector(".picture");
    if (state.heat || card.matches(":hover, :focus")) heatOn(box, state.shown[i]);
    else heatOff(box);
  }
});
const toggleList = () => press("layout", "list", () => { grid.classList.toggle("list", state.list); draw(); });
byId("heat").addEventListener("click", toggleHeat);
byId("layout").addEventListener("click", toggleList);
byId("sort").addEventListener("change", (event) => { state.sort = event.target.value; update(); });
byId("text").addEventListener("input", (event) => { state.text = event.target.value; update(); });
for (const end of ["from", "to"]) byId(end).addEventListener("input", (event) => {
  const value = Number(event.target.value);
  state[end] = end === "from" ? Math.min(value, state.to) : Math.max(value, state.from);
  event.target.value = state[end];
  update();
});
byId("reset").addEventListener("click", () => {
  Object.assign(state, { verdicts: new Set(VERDICTS), text: "", from: 0, to: 100 });
  byId("text").value = "";
  byId("from").value = 0;
  byId("to").value = 100;
  update();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || dialog.open || event.target.closest("input, select")) return;
  const action = { "/": () => byId("text").focus(), h: toggleHeat, l: toggleList }[event.key];
  if (action) { event.preventDefault(); action(); }
});
addEventListener("scroll", queue, { passive: true });
addEventListener("resize", queue);

// ---- paper ---------------------------------------------------------------------------------------------------------
addEventListener("beforeprint", () => {
  const some = state.shown.slice(0, PRINT_LIMIT);
  grid.replaceChildren(...some.map(cardOf));
  cards.clear();
  printing = true;
  const rest = state.shown.length - some.length;
  byId("printnote").textContent = rest ? number.format(rest) + " more images match and are not printed; filter first." : "";
});
addEventListener("afterprint", () => { printing = false; grid.replaceChildren(); update(); });

head();
update();
document.documentElement.dataset.ready = String(Math.round(performance.now()));
