"use strict";
// The colours of LCAS values, in the report and on the server's page, as in the heatmaps of `cinemae run`.

/** Colour of a value, from a table of colours that spans [low, high]; values outside get the colour of the end. */
function colourOf(colours, value, low, high) {
  const share = Math.min(1, Math.max(0, (value - low) / (high - low || 1)));
  return colours[Math.round(share * (colours.length - 1))];
}

/** A canvas pattern for patches that no run masked. */
function hatching(pen) {
  const tile = new OffscreenCanvas(10, 10), ink = tile.getContext("2d");
  ink.fillStyle = "#787c84";
  ink.fillRect(0, 0, 10, 10);
  ink.fillStyle = "#d6d8dc";
  for (let y = 0; y < 10; y++) for (let x = 0; x < 10; x++) if ((x + y) % 10 < 5) ink.fillRect(x, y, 1, 1);
  return pen.createPattern(tile, "repeat");
}

/** Draw the colour bar over mid-grey, as the colours look over a photograph in grey. */
function drawColourBar(canvas, colours, opacity) {
  const pen = canvas.getContext("2d");
  [canvas.width, canvas.height] = [colours.length, 1];
  pen.fillStyle = "#808080";
  pen.fillRect(0, 0, canvas.width, 1);
  pen.globalAlpha = opacity;
  colours.forEach((colour, x) => { pen.fillStyle = colour; pen.fillRect(x, 0, 1, 1); });
}

/** A number with three significant digits. */
const shortNumber = (value) => String(Number(value.toPrecision(3)));

/** The sentence beside a colour bar. */
const scaleNote = (fixed) => (fixed ? "one fixed scale for all images" : "each image has its own scale: colours of two images do not compare");
