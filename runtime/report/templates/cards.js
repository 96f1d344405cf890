// One image as a card: picture, heatmap, verdict, name, reasons.
const THUMB = "data:image/jpeg;base64,";
const number = new Intl.NumberFormat("en");

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
const percent = (p) => (p > 0 && p < 0.01 ? "< 1" : p < 1 && p > 0.99 ? "> 99" : String(Math.round(p * 100))) + "\u202f%";
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
  const card = make("div", "card " + row.tone);
  card.setAttribute("role", "listitem");
  card.dataset.index = row.index;
  card.tabIndex = -1;
  const chance = row.q === undefined ? "" : percent(row.q);
  card.setAttribute("aria-label", LABEL[row.kind] + (chance ? ", " + chance + " AI" : "") + ", " + baseName(row.p));
  const box = pictureBox(row, state.heat);
  const facts = make("div", "facts"), line = make("div", "line"), meter = make("div", "meter");
  line.append(make("span", "tag", LABEL[row.kind]), make("span", "chance", chance));
  if (row.q !== undefined) {
    const bar = make("i");
    bar.style.width = row.q * 100 + "%";
    meter.append(bar);
    for (const [probability] of THRESHOLDS) {
      const mark = make("u");
      mark.style.left = probability * 100 + "%";
      meter.append(mark);
    }
  }
  const name = make("div", "name"), file = baseName(row.p);
  name.append(make("span", "file", file), make("span", "folder", row.p.slice(0, row.p.length - file.length)));
  name.title = row.p;
  facts.append(line, meter, name, make("div", "why", row.e || (row.r || []).join("; ")));
  facts.classList.add(row.tone);
  line.classList.add(row.tone);
  card.append(box, facts);
  markCard(card, row);
  const on = () => heatOn(box, row), off = () => { if (!state.heat && !card.matches(":hover, :focus")) heatOff(box); };
  card.addEventListener("mouseenter", on);
  card.addEventListener("focus", on);
  card.addEventListener("mouseleave", off);
  card.addEventListener("blur", off);
  card.addEventListener("click", () => openDetail(state.shown.indexOf(row)));
  return card;
}
