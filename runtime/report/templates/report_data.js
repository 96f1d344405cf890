"use strict";
// Everything here works on data that lies in the page. File names and reasons are only ever set as text, never as markup.
const byId = (id) => document.getElementById(id);
const info = JSON.parse(byId("info").textContent);
const VERDICTS = ["ai", "uncertain", "real", "error"];
const LABEL = { ai: "AI", uncertain: "Uncertain", real: "Real", error: "Not read" };

// ---- data: rows are parsed now, pictures only when they come into view ---------------------------------------------
const rows = [];
const media = [];
for (const chunk of document.querySelectorAll("script.rows")) {
  const source = { element: chunk.nextElementSibling, lines: null };
  JSON.parse(chunk.textContent).forEach((row, within) => {
    row.index = rows.length;
    row.kind = row.e === undefined ? row.v : "error";
    row.search = (row.p + "\n" + (row.r || []).join("\n") + "\n" + (row.e || "")).toLowerCase();
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

const table = Uint8Array.from(atob(info.colours), (c) => c.charCodeAt(0));
const colourOf = (level) => "rgb(" + table.slice(3 * level, 3 * level + 3).join() + ")";
const scaleOf = (row) => info.scale || row.m;

function paint(canvas, row) {
  const values = lcasOf(row), side = Math.round(Math.sqrt(values.length)), cell = 12;
  const [low, high] = scaleOf(row);
  canvas.width = canvas.height = side * cell;
  const context = canvas.getContext("2d");
  values.forEach((value, i) => {
    const x = (i % side) * cell, y = Math.floor(i / side) * cell;
    if (Number.isNaN(value)) return hatch(context, x, y, cell);
    context.fillStyle = colourOf(Math.round(Math.min(1, Math.max(0, (value - low) / (high - low || 1))) * 255));
    context.fillRect(x, y, cell, cell);
  });
}

function hatch(context, x, y, cell) {
  context.fillStyle = "#d6d8dc";
  context.fillRect(x, y, cell, cell);
  context.fillStyle = "#787c84";
  for (let v = 0; v < cell; v++) for (let u = 0; u < cell; u++) if ((u + v) % 6 < 3) context.fillRect(x + u, y + v, 1, 1);
}
