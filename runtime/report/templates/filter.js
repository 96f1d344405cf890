// Which images are shown, and in which order.
const state = { verdicts: new Set(VERDICTS), text: "", from: 0, to: 100, mark: "", sort: "suspicion", heat: false, list: false, shown: rows, focus: 0 };
// A sort is a key and a direction; rows without the key (files that could not be scored) come last.
const KEYS = {
  suspicion: [(row) => (row.marks.includes("declares AI") ? 1e9 + (row.l ?? 0) : row.l), -1], order: [(row) => row.index, 1], high: [(row) => row.l, -1], low: [(row) => row.l, 1], close: [(row) => distance(row), 1],
  anomaly: [(row) => row.s && row.s[1], -1], name: [(row) => row.p, 1],
};
const distance = (row) => (row.l === undefined || !THRESHOLDS.length ? undefined : Math.min(...THRESHOLDS.map((logit) => Math.abs(row.l - logit))));
function compare(a, b) {
  const [key, sign] = KEYS[state.sort], x = key(a), y = key(b);
  if (x === y) return a.index - b.index;
  if (x === undefined || y === undefined) return x === undefined ? 1 : -1;
  return x < y ? -sign : sign;
}

function update() {
  const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  const whole = state.from === 0 && state.to === 100;
  const at = (row) => placeOf(info.spread, row.l) * 100, inside = (row) => whole || (row.l !== undefined && at(row) >= state.from && at(row) <= state.to);
  const matches = rows.filter((row) => inside(row) && (!state.mark || row.groups.includes(state.mark)) && words.every((word) => row.search.includes(word)));
  state.shown = matches.filter((row) => state.verdicts.has(row.kind));
  state.shown.sort(compare);
  state.focus = 0;
  byId("count").textContent = number.format(state.shown.length) + " of " + number.format(rows.length) + (rows.length === 1 ? " image" : " images");
  byId("nothing").hidden = state.shown.length > 0;
  for (const button of byId("verdicts").children) button.setAttribute("aria-pressed", String(state.verdicts.has(button.dataset.kind)));
  for (const button of byId("marks").children) button.setAttribute("aria-pressed", String(state.mark === button.dataset.mark));
  const { low, high } = info.spread, logit = (percent) => (low + (percent / 100) * (high - low)).toFixed(2);
  byId("range").textContent = whole ? "all scores" : "scores " + logit(state.from) + " to " + logit(state.to);
  for (const card of cards.values()) card.remove();
  cards.clear();
  draw();
}
