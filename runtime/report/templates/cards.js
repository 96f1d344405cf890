// One image as a card: picture, heatmap, verdict, what its file declares, what its score supports, what qualifies it.
const THUMB = "data:image/jpeg;base64,";
const number = new Intl.NumberFormat("en");

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}
/** The place of a row's score between the measured images. */
function placeIn(row, wide, tall) {
  const svg = shape("svg", { class: "place", viewBox: "0 0 " + wide + " " + tall, preserveAspectRatio: "none", "aria-hidden": "true" });
  drawSpread(svg, info.spread, info.run, row.l);
  return svg;
}
const percent = (p) => (p > 0 && p < 0.01 ? "< 1" : p < 1 && p > 0.99 ? "> 99" : String(Math.round(p * 100))) + "\u202f%";
/** What a row's score supports, in short; "" where it has none. */
const supportOf = (row) => (row.x ? "ratio " + row.x[0] + ": " + row.x[2] : row.q === undefined ? "" : percent(row.q) + " probability of AI, " + info.words.prior);
/** The first words of each step that is next for a row. */
const nextWords = ({ next }) => (next.length ? "Next: " + next.map((code) => info.words["next_" + code].split(":")[0].toLowerCase()).join(", ") : "");
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
/** Badges of what the file declares. */
function badgesOf(marks) {
  const badges = make("span", "badges");
  badges.append(...marks.map((mark) => make("span", ["badge", TONES[mark]].filter(Boolean).join(" "), mark)));
  return badges;
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
  card.setAttribute("aria-label", [LABEL[row.kind], row.c && "contradiction", ...row.marks, supportOf(row), baseName(row.p)].filter(Boolean).join(", "));
  const box = pictureBox(row, state.heat);
  box.append(badgesOf(row.marks));
  const facts = make("div", "facts"), line = make("div", "line"), words = make("div", "words");
  line.append(make("span", "tag", LABEL[row.kind]), make("span", "chance", row.x ? row.x[0].split(" ")[0] : row.q === undefined ? "" : percent(row.q)));
  if (row.x) line.lastChild.prepend(make("small", "", "ratio "));
  words.append(make("div", "told", row.o.filter(([, , kind]) => kind !== "jpeg_quality").map(([statement]) => statement).join("; ")),
    make("div", "support", supportOf(row)), make("div", row.c ? "why against" : "why", row.e || (row.c || row.r || []).join("; ")),
    make("div", "next", nextWords(row)));
  const name = make("div", "name"), file = baseName(row.p);
  name.append(make("span", "file", file), make("span", "folder", row.p.slice(0, row.p.length - file.length)));
  name.title = row.p;
  facts.append(line, row.l === undefined ? make("div", "place") : placeIn(row, 100, 26), name, words);
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
