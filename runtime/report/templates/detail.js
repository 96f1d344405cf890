// One image in full, in a dialog.
const dialog = byId("detail");
let open = 0;
function openDetail(place) {
  if (place < 0 || place >= state.shown.length) return;
  open = place;
  const row = state.shown[place], body = byId("detail-body");
  byId("detail-name").textContent = baseName(row.p);
  byId("place").textContent = number.format(place + 1) + " of " + number.format(state.shown.length);
  body.replaceChildren();
  const verdict = make("p", "verdictline");
  verdict.append(make("span", "tag " + row.tone, wordOf(row.kind, row.c, row.rated ? { ai: info.run.false_alarm, real: info.run.miss }[row.kind] : null)));
  if (row.x) verdict.append(make("strong", "", row.x[0]), make("span", "", "likelihood ratio"));
  verdict.classList.add(row.tone);
  const list = make("dl");
  const add = (term, value) => value !== undefined && value !== "" && list.append(make("dt", "", term), make("dd", "", value));
  row.o.forEach((fact, i) => list.append(make("dt", "", i ? "" : "In the file"), factOf(fact)));
  if (row.e === undefined && !row.o.length) add("In the file", "no statement on its origin");
  add("Score", row.x?.[1]);
  add("P(AI)", row.q === undefined ? undefined : percent(row.q) + ", " + info.words.prior);
  if (row.kind === "uncertain" || (row.q !== undefined && row.rated)) add(LABEL[row.kind], info.words[row.kind]);
  const unknown = row.l === undefined ? [] : [...(row.r || []), row.rated ? "" : "no error rate of this verdict is known", info.words.caveat].filter(Boolean);
  unknown.forEach((text, i) => add(i ? "" : "To bear in mind", text));
  row.next.forEach((code, i) => add(i ? "" : "What next", info.words["next_" + code]));
  add("Error", row.e);
  add("Logit", row.l === undefined ? undefined : row.l.toFixed(4) + (THRESHOLDS.length ? " (" + decisionOf(info.run) + ")" : ""));
  if (row.s) add("Statistics", "variability s1 " + row.s[0].toPrecision(4) + ", anomaly s2 " + row.s[1].toPrecision(4) + ", sensitivity s3 " + row.s[2].toPrecision(4));
  add("Size", row.w ? row.w + " \u00d7 " + row.h + " pixels" : undefined);
  if (row.e === undefined) add("Scored", scoredPart(row));
  if (row.n) add("Frames", framesOf(row.n));
  add("Path", row.p);
  add("SHA-256", row.d);
  if (row.f) {
    const link = make("a", "", "open the original");
    link.href = row.f;
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    const cell = make("dd");
    cell.append(link);
    list.append(make("dt", "", "File"), cell);
  }
  // The verdict comes first: on a phone the pictures fill the screen.
  body.append(verdict, ...(row.c || []).map((text) => make("p", "banner", text)));
  if (row.l !== undefined) body.append(placeIn(row, 400, 60), axis());
  if (row.m) body.append(pairOf(row));
  else if (row.e === undefined) body.append(pictureBox(row, false));
  body.append(list, reviewForm(row));
  if (row.f && row.w) body.append(originalButton(row));
  byId("previous").disabled = place === 0;
  byId("next").disabled = place === state.shown.length - 1;
  if (!dialog.open) dialog.showModal();
}
/** A fact with its place, and its raw text behind a click. */
function factOf([statement, place, , , , raw]) {
  const cell = make("dd");
  cell.append(statement + " ", make("small", "", "[" + place + "]"));
  if (raw) {
    const more = make("details", "raw");
    more.append(make("summary", "", "as it stands in the file"), make("pre", "", raw));
    cell.append(more);
  }
  return cell;
}
/** What the axis below a distribution means. */
function axis() {
  const ends = make("div", "ends"), ratios = make("div", "ratios");
  markRatios(ratios, info.spread);
  ends.append(make("span", "", "as real images score"), make("span", "middle", info.spread.ratios.length ? "likelihood ratio" : ""), make("span", "", "as AI images score"));
  const both = make("div", "axis");
  both.append(ratios, ends);
  return both;
}
/** The scored frames of an animation or a video, in words. */
function framesOf({ count, from, scored }) {
  const each = scored.map(([index, probability]) => index + ": " + percent(probability) + (index === from ? " (gives the verdict)" : ""));
  return each.join(", ") + (count === undefined || count === null ? "" : ", of " + number.format(count) + " in the file, counted from 0");
}
function originalButton(row) {
  const button = make("button", "wide", "Show the original with the scored part");
  button.type = "button";
  button.addEventListener("click", () => button.replaceWith(originalOf(row)));
  return button;
}
function pairOf(row) {
  const pair = make("div", "pair"), left = make("figure"), right = make("figure"), reading = make("output");
  left.append(pictureBox(row, false), make("figcaption", "", row.t ? "The picture that the squares cover" : "Input of the network"));
  const hot = pictureBox(row, true), caption = make("figcaption", "", "Contextual anomaly (LCAS)"), bar = make("canvas", "colours"), ends = make("div", "ends");
  caption.prepend(reading);
  drawColourBar(bar, info.colours, info.opacity);
  const [low, high] = scaleOf(row);
  ends.append(make("span", "", shortNumber(low)), make("span", "", scaleNote(info.scale)), make("span", "", shortNumber(high)));
  right.append(hot, caption, bar, ends);
  pair.append(left, right);
  const values = lcasOf(row), [down, across] = gridOf(row, values);
  if (row.g) {  // tiles: the whole picture, no higher than the screen
    for (const box of pair.querySelectorAll(".picture")) {
      Object.assign(box.style, { aspectRatio: across + " / " + down, width: "min(100%, " + (70 * across) / down + "vh)" });
    }
  }
  hot.addEventListener("mousemove", (event) => {
    const box = hot.getBoundingClientRect(), at = (p, count) => Math.min(count - 1, Math.max(0, Math.floor(p * count)));
    const value = values[at((event.clientY - box.top) / box.height, down) * across + at((event.clientX - box.left) / box.width, across)];
    reading.textContent = Number.isNaN(value) ? "never masked" : shortNumber(value);
  });
  hot.addEventListener("mouseleave", () => { reading.textContent = ""; });
  return pair;
}
dialog.addEventListener("close", () => { if (state.shown.length) focusOn(open); });
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("keydown", (event) => {
  if (event.target.closest("textarea")) return;
  if (event.key === "ArrowRight") openDetail(open + 1);
  else if (event.key === "ArrowLeft") openDetail(open - 1);
});
byId("previous").addEventListener("click", () => openDetail(open - 1));
byId("next").addEventListener("click", () => openDetail(open + 1));
