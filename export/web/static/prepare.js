// The one preprocessing of the manifest: short side resized, centre cut out. Equal to `resize_crop` of the runtime.

import { blockOf, reduced } from "./reduce.js";
import { resample, weightsOf } from "./resample.js";

/** Half to even, as Python rounds. */
function rounded(value) {
  const down = Math.floor(value), rest = value - down;
  return rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? down + 1 : down;
}

/**
 * whole: {width, height, strip(y, count) -> RGBA bytes}, upright and opaque. preprocess: of the manifest.
 * maxAspect, scaledMargin, verticalFirst: of the runtime, and whether Pillow orders its passes as version 13 does.
 * Returns {pixels: uint8 RGB [crop, crop, 3], width, height, grayscale}; the sizes are the whole image's.
 */
export function prepare(whole, preprocess, { maxAspect, scaledMargin, verticalFirst }) {
  const image = reduced(whole, blockOf(whole, preprocess, scaledMargin));
  const { width, height } = image, { resize_short: short, crop } = preprocess;
  const scale = short / Math.min(width, height);
  const newWidth = Math.max(rounded(width * scale), short), newHeight = Math.max(rounded(height * scale), short);
  const left = Math.floor((newWidth - crop) / 2), top = Math.floor((newHeight - crop) / 2);
  let columns, rows, outWidth = crop, outHeight = crop;
  if (Math.max(newWidth, newHeight) <= maxAspect * short) {
    [outWidth, outHeight] = [newWidth, newHeight];
    columns = weightsOf(width, newWidth, left, crop);
    rows = weightsOf(height, newHeight, top, crop);
  } else {
    const fx = width / newWidth, fy = height / newHeight;
    columns = weightsOf(width, crop, 0, crop, left * fx, (left + crop) * fx);
    rows = weightsOf(height, crop, 0, crop, top * fy, (top + crop) * fy);
  }
  // Pillow 13 shrinks tall images vertically first; `outWidth` is what it resizes to, the box or the whole.
  const vertical = verticalFirst && outHeight < height && height - outHeight > 2 * (width - outWidth);
  const pixels = resample(image, columns, rows, vertical);
  let grayscale = true;
  for (let i = 0; grayscale && i < pixels.length; i += 3) {
    grayscale = pixels[i] === pixels[i + 1] && pixels[i] === pixels[i + 2];
  }
  return { pixels, width: whole.width, height: whole.height, grayscale };
}
