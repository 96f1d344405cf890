// The data of the page. File names and reasons are only ever set as text, never as markup.
const byId = (id) => document.getElementById(id);
const info = JSON.parse(byId("info").textContent);

const THRESHOLDS = thresholdsOf(info.run);

// Rows are parsed at once, pictures when they come into view.
const rows = [];
const media = [];
for (const chunk of document.querySelectorAll("script.rows")) {
  const source = { element: chunk.nextElementSibling, lines: null };
  JSON.parse(chunk.textContent).forEach((row, within) => {
    row.index = rows.length;
    row.kind = row.e === undefined ? row.v : "error";
    row.tone = toneOf(row.kind, row.c);
    // A fact: statement, place, kind, what it declares, value, raw text.
    row.o ??= [];
    row.marks = marksOf(row.o.map(([, , kind, declares, value]) => ({ kind, declares, value })));
    const isSilent = row.e === undefined && row.o.every(([, , kind]) => kind === "jpeg_quality");
    const isOther = row.e === undefined && !isSilent && !row.marks.length;
    const isWrong = row.y !== undefined && row.y !== row.v && ["ai", "real"].includes(row.v);
    if (row.y) row.marks.push(row.y === "ai" ? "labelled AI" : "labelled real");
    row.groups = [...row.marks, isWrong && "wrong", row.c?.includes(info.words.declared) && "contradiction", isSilent && "silent", isOther && "other"];
    row.next = nextOf(row.kind, row.c, row.marks);
    // The rates hold for single images, not for the most suspicious of several frames.
    row.rated = row.n === undefined || row.n.scored.length === 1;
    row.search = [row.p, ...row.marks, ...row.o.flat(), row.x?.[1], ...(row.c || []), ...(row.r || []), row.e].join("\n").toLowerCase();
    rows.push(row);
    media.push([source, within]);
  });
}

/** The thumbnail (base64) and the LCAS bytes (base64) of a row; "" where there is none. */
function pictureOf(row) {
  const [source, within] = media[row.index];
  source.lines ??= source.element.textContent.trim().split("\n");
  return source.lines[within].split("|");
}

/** LCAS of every patch of a row, NaN where never masked; null where there is none. Bytes are 0..254 of [low, high], 255 is NaN. */
function lcasOf(row) {
  const bytes = pictureOf(row)[1];
  if (!bytes) return null;
  const [low, high] = row.m;
  return Float32Array.from(atob(bytes), (c) => (c.charCodeAt(0) === 255 ? NaN : low + (c.charCodeAt(0) / 254) * (high - low)));
}

const scaleOf = (row) => info.scale || row.m;
document.documentElement.style.setProperty("--heat-opacity", info.opacity);

/** Rows and columns of a row's patches. */
function gridOf(row, values) {
  const columns = row.g ?? Math.round(Math.sqrt(values.length));
  return [values.length / columns, columns];
}

/** Draw the LCAS of a row's patches; patches that no run masked are hatched. */
function paint(canvas, row) {
  const values = lcasOf(row), [down, across] = gridOf(row, values), cell = 12;
  const [low, high] = scaleOf(row);
  [canvas.width, canvas.height] = [across * cell, down * cell];
  const pen = canvas.getContext("2d");
  let unknown;
  values.forEach((value, i) => {
    pen.fillStyle = Number.isNaN(value) ? (unknown ??= hatching(pen)) : colourOf(info.colours, value, low, high);
    pen.fillRect((i % across) * cell, Math.floor(i / across) * cell, cell, cell);
  });
}
