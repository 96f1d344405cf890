// Draws an image with its anomaly map, in the colours and with the opacity of the command line's heatmaps.

/** The scale's ends: the engine's fixed range, or this map's own where the engine has none. */
function ends(engine, lcas) {
  if (engine.heatmap_range) return engine.heatmap_range;
  const known = lcas.filter((value) => value !== null);
  return [Math.min(...known), Math.max(...known)];
}

/** The scored centre crop inside an image of width x height: [x, y, side]. */
function cropOf(engine, width, height) {
  const side = (Math.min(width, height) * engine.crop) / engine.resize_short;
  return [(width - side) / 2, (height - side) / 2, side];
}

/**
 * Draw `picture` (an ImageBitmap, or null) and, where given, `map` ({grid, lcas}) onto `canvas`.
 * size: {width, height} of the whole image, for when the browser cannot show it.
 */
export function draw(canvas, engine, picture, size, map) {
  const ratio = window.devicePixelRatio || 1;
  const wide = Math.round(canvas.clientWidth * ratio), tall = Math.round(canvas.clientHeight * ratio);
  if (!wide || !tall) return;
  if (canvas.width !== wide) canvas.width = wide;
  if (canvas.height !== tall) canvas.height = tall;
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, wide, tall);
  const { width, height } = picture || size;
  const zoom = Math.min(wide / width, tall / height);
  const left = (wide - width * zoom) / 2, top = (tall - height * zoom) / 2;
  pen.imageSmoothingQuality = "high";
  if (picture) pen.drawImage(picture, left, top, width * zoom, height * zoom);
  if (!map) return;
  const [cropLeft, cropTop, cropSide] = cropOf(engine, width, height);
  const x = left + cropLeft * zoom, y = top + cropTop * zoom, side = cropSide * zoom;
  if (picture) {
    pen.fillStyle = "rgb(10 8 14 / .45)";
    pen.fillRect(left, top, width * zoom, height * zoom);
    pen.filter = "grayscale(1)";
    pen.drawImage(picture, cropLeft, cropTop, cropSide, cropSide, x, y, side, side);
    pen.filter = "none";
  } else {
    pen.fillStyle = "rgb(128 128 128)";
    pen.fillRect(x, y, side, side);
  }
  const [low, high] = ends(engine, map.lcas);
  const step = side / map.grid;
  pen.globalAlpha = engine.heatmap_opacity;
  map.lcas.forEach((value, index) => {
    // Edges on whole pixels: neighbours neither overlap nor leave a seam.
    const x0 = Math.round(x + (index % map.grid) * step), x1 = Math.round(x + ((index % map.grid) + 1) * step);
    const row = Math.floor(index / map.grid);
    const y0 = Math.round(y + row * step), y1 = Math.round(y + (row + 1) * step);
    pen.fillStyle = value === null ? hatching(pen) : colourOf(engine.colours, value, low, high);
    pen.fillRect(x0, y0, x1 - x0, y1 - y0);
  });
  pen.globalAlpha = 1;
  pen.strokeStyle = "rgb(255 255 255 / .8)";
  pen.lineWidth = ratio;
  pen.strokeRect(x, y, side, side);
}
