// What the buttons below the verdicts count and show alone, with the words after one and after many files.
const GROUPS = {
  wrong: ["verdict is wrong", "verdicts are wrong"], "labelled AI": ["is labelled AI", "are labelled AI"], "labelled real": ["is labelled real", "are labelled real"],
  "declares AI": ["file declares AI", "files declare AI"], "declares AI in part": ["declares AI in part", "declare AI in part"],
  contradiction: ["contradicts its score", "contradict their scores"], "declares a camera": ["declares a camera", "declare a camera"],
  "valid signature": ["has a valid signature", "have valid signatures"], "broken signature": ["has a broken signature", "have broken signatures"],
  "unchecked signature": ["has an unchecked signature", "have unchecked signatures"], "camera data": ["has camera data", "have camera data"],
  other: ["says other things", "say other things"], silent: ["says nothing of its origin", "say nothing of their origin"],
};
const TONES = { wrong: "uncertain", "declares AI": "ai", contradiction: "uncertain", "broken signature": "uncertain" };
// The head of the page: what was scored, by which engine, and how the scores spread.
function head() {
  byId("title").textContent = info.title;
  byId("byline").textContent = [number.format(rows.length) + (rows.length === 1 ? " image" : " images"), "engine " + info.run.engine, info.provider, info.when, "cinemae " + info.run.cinemae,
    info.pictures && "pictures of the first " + number.format(info.pictures) + " only"]
    .filter(Boolean).join("  \u00b7  ");
  byId("demonstration").hidden = !info.demonstration;
  byId("decision").textContent = decisionOf(info.run);
  byId("measured").hidden = !info.spread.real.length;
  markRatios(byId("ratios"), info.spread);
  byId("caveat").textContent = info.words.caveat;
  byId("scale").textContent = info.scale
    ? "Colours run from LCAS " + info.scale.map(shortNumber).join(" to ") + " in every image."
    : "This engine stores no fixed scale: " + scaleNote(false) + ".";
  for (const kind of VERDICTS) {
    const count = rows.reduce((sum, row) => sum + (row.kind === kind), 0);
    if (kind === "error" && !count) continue;
    const button = make("button", "verdict " + kind);
    button.type = "button";
    button.dataset.kind = kind;
    button.append(make("b", "", number.format(count)), make("span", "tag " + kind, LABEL[kind]), make("small", "", rows.length ? percent(count / rows.length) : ""), make("small", "promise", info.words[kind]));
    button.addEventListener("click", () => { toggleVerdict(kind); });
    byId("verdicts").append(button);
  }
  for (const [group, [one, many]] of Object.entries(GROUPS)) {
    const count = rows.reduce((sum, row) => sum + row.groups.includes(group), 0), button = make("button", TONES[group]);
    if (!count) continue;
    button.type = "button";
    button.dataset.mark = group;
    button.append(make("b", "", number.format(count)), " " + (count === 1 ? one : many));
    button.addEventListener("click", () => { state.mark = state.mark === group ? "" : group; update(); });
    byId("marks").append(button);
  }
  const failed = rows.filter((row) => row.e !== undefined), box = byId("errors");
  box.hidden = !failed.length;
  box.querySelector("summary").textContent = number.format(failed.length) + (failed.length === 1 ? " file" : " files") + " could not be scored: " + kindsOf(failed);
  for (const row of failed.slice(0, 500)) box.querySelector("ol").append(make("li", "", row.e.includes(row.p) ? row.e : row.p + ": " + row.e));
  if (failed.length > 500) box.querySelector("ol").append(make("li", "", "and " + number.format(failed.length - 500) + " more"));
  histogram();
}
/** How many files failed of each kind of error, such as "2 damaged, 1 missing". */
function kindsOf(failed) {
  const counts = new Map();
  for (const { k } of failed) counts.set(k, (counts.get(k) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a).map(([kind, count]) => number.format(count) + " " + kind.replace("_", " ")).join(", ");
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
  const { low, high } = info.spread, at = (edge) => (low + (edge / bins) * (high - low)).toFixed(2);
  for (const row of rows) if (row.l !== undefined) counts[Math.min(bins - 1, Math.floor(placeOf(info.spread, row.l) * bins))][row.tone]++;
  const peak = Math.max(1, ...counts.map((bin) => bin.real + bin.uncertain + bin.ai));
  drawSpread(svg, info.spread, info.run);
  byId("peak").textContent = "highest bar: " + number.format(peak) + (peak === 1 ? " image" : " images");
  counts.forEach((bin, i) => {
    let y = 84;
    const all = bin.real + bin.uncertain + bin.ai;
    for (const kind of ["real", "uncertain", "ai"]) {
      const tall = bin[kind] && Math.max(1, (bin[kind] / peak) * 76);
      y -= tall;
      if (tall) svg.append(shape("rect", { class: kind, x: i * 8 + 0.5, y, width: 7, height: tall }));
    }
    if (!all) return;
    const column = shape("path", { class: "column", d: "M" + i * 8 + " 0h8v84h-8z" }), title = shape("title", {});
    title.textContent = "score " + at(i) + " to " + at(i + 1) + ": " + ["ai", "uncertain", "real"].filter((kind) => bin[kind]).map((kind) => number.format(bin[kind]) + " " + LABEL[kind]).join(", ");
    column.append(title);
    svg.append(column);
  });
}
