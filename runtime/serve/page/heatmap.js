// Draws an image with its anomaly map, in the colours and with the opacity of the command line's heatmaps.

/** The scale's ends: the engine's fixed range, or this map's own where the engine has none. */
function ends(engine, lcas) {
  if (engine.heatmap_range) return engine.heatmap_range;
  const known = lcas.filter((value) => value !== null);
  return [Math.min(...known), Math.max(...known)];
}

/** The scored part of an image of width x height, the centre crop or for tiles the whole: [x, y, width, height]. */
function scoredPart(engine, record, width, height) {
  if (record.tiles.length) return [0, 0, width, height];
  const side = (Math.min(width, height) * engine.crop) / engine.resize_short;
  return [(width - side) / 2, (height - side) / 2, side, side];
}

/**
 * Draw `picture` (an ImageBitmap, or null) and, where given, `map` ({grid, lcas}) onto `canvas`.
 * record: of the image, whose size counts where the browser cannot show it; null until it is scored.
 */
export function draw(canvas, engine, picture, record, map) {
  const ratio = window.devicePixelRatio || 1;
  const wide = Math.round(canvas.clientWidth * ratio), tall = Math.round(canvas.clientHeight * ratio);
  if (!wide || !tall) return;
  if (canvas.width !== wide) canvas.width = wide;
  if (canvas.height !== tall) canvas.height = tall;
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, wide, tall);
  const { width, height } = picture || record;
  const zoom = Math.min(wide / width, tall / height);
  const left = (wide - width * zoom) / 2, top = (tall - height * zoom) / 2;
  pen.imageSmoothingQuality = "high";
  if (picture) pen.drawImage(picture, left, top, width * zoom, height * zoom);
  if (!map) return;
  const part = scoredPart(engine, record, width, height), [partWide, partTall] = [part[2] * zoom, part[3] * zoom];
  const x = left + part[0] * zoom, y = top + part[1] * zoom;
  if (picture) {
    pen.fillStyle = "rgb(10 8 14 / .45)";
    pen.fillRect(left, top, width * zoom, height * zoom);
    pen.filter = "grayscale(1)";
    pen.drawImage(picture, ...part, x, y, partWide, partTall);
    pen.filter = "none";
  } else {
    pen.fillStyle = "rgb(128 128 128)";
    pen.fillRect(x, y, partWide, partTall);
  }
  const [low, high] = ends(engine, map.lcas);
  const across = partWide / map.grid, down = (partTall * map.grid) / map.lcas.length;
  pen.globalAlpha = engine.heatmap_opacity;
  map.lcas.forEach((value, index) => {
    // Edges on whole pixels: neighbours neither overlap nor leave a seam.
    const column = index % map.grid, row = Math.floor(index / map.grid);
    const x0 = Math.round(x + column * across), x1 = Math.round(x + (column + 1) * across);
    const y0 = Math.round(y + row * down), y1 = Math.round(y + (row + 1) * down);
    pen.fillStyle = value === null ? hatching(pen) : colourOf(engine.colours, value, low, high);
    pen.fillRect(x0, y0, x1 - x0, y1 - y0);
  });
  pen.globalAlpha = 1;
  pen.strokeStyle = "rgb(255 255 255 / .8)";
  pen.lineWidth = ratio;
  pen.strokeRect(x, y, partWide, partTall);
}
