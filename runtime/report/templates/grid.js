// The grid of cards, of which only those near the window exist, and its keys.
const grid = byId("grid");
const cards = new Map();
const GAP = 16;
let columns = 1, width = 0, height = 0, printing = false;

function measure() {
  const room = grid.clientWidth;
  columns = state.list ? 1 : Math.max(2, Math.floor((room + GAP) / (208 + GAP)));
  width = (room - GAP * (columns - 1)) / columns;
  height = state.list ? 92 : Math.round(width) + 151 + textHeight(width - 26);
}
// Cards are of one height: that of the longest words on what a score supports, and of facts where any file has some.
const longest = rows.reduce((long, row) => (supportOf(row).length > long.length ? supportOf(row) : long), "");
const told = rows.some((row) => row.o.some(([, , kind]) => kind !== "jpeg_quality"));
const undecided = rows.some((row) => row.next.length);
const heights = new Map();
function textHeight(room) {
  if (heights.has(room)) return heights.get(room);
  const probe = make("div", "support", longest);
  probe.style.width = room + "px";
  grid.append(probe);
  const tall = probe.offsetHeight + (told ? 54 : 0) + (undecided ? 54 : 0);
  probe.remove();
  heights.set(room, tall);
  return tall;
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
