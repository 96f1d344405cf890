// Pillow's 8-bit bicubic resize (its Resample.c), pixel for pixel: fixed-point weights, one rounding after each pass.

const PRECISION_BITS = 32 - 8 - 2, HALF = 1 << (PRECISION_BITS - 1), SUPPORT = 2, STRIP_ROWS = 256;

function bicubic(x) {
  x = Math.abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * -0.5;
  return 0;
}

/**
 * Weights of the output pixels `first` to `first + count - 1` of `outSize`, for an input of `inSize` pixels of which
 * [low, high] (float32, as Pillow keeps a box) is resized. Returns one {start, weights: Int32Array} an output pixel.
 */
export function weightsOf(inSize, outSize, first = 0, count = outSize, low = 0, high = inSize) {
  low = Math.fround(low);
  const scale = Math.fround(Math.fround(high) - low) / outSize, filterScale = Math.max(scale, 1);
  const support = SUPPORT * filterScale, inverse = 1 / filterScale;
  return Array.from({ length: count }, (_, index) => {
    const centre = low + (first + index + 0.5) * scale;
    const start = Math.max(Math.trunc(centre - support + 0.5), 0);
    const end = Math.min(Math.trunc(centre + support + 0.5), inSize);
    const exact = new Float64Array(end - start);
    let sum = 0;
    for (let x = 0; x < exact.length; x++) sum += exact[x] = bicubic((x + start - centre + 0.5) * inverse);
    const weights = Int32Array.from(exact, (value) => {
      const fixed = (sum === 0 ? value : value / sum) * (1 << PRECISION_BITS);
      return Math.trunc(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    });
    return { start, weights };
  });
}

const endOf = (axis) => axis[axis.length - 1].start + axis[axis.length - 1].weights.length;
const clip = (sum) => Math.min(Math.max(sum >> PRECISION_BITS, 0), 255);

/** Columns of one row of pixels, `step` bytes each, as RGB, written to `out` from `at` on. */
function resampleRow(row, from, step, columns, out, at) {
  for (const { start, weights } of columns) {
    let red = HALF, green = HALF, blue = HALF;
    for (let x = 0, place = from + step * start; x < weights.length; x++, place += step) {
      red += row[place] * weights[x];
      green += row[place + 1] * weights[x];
      blue += row[place + 2] * weights[x];
    }
    out[at++] = clip(red);
    out[at++] = clip(green);
    out[at++] = clip(blue);
  }
}

/** Calls visit(pixels, offset, y) for the rows from `first` to `end - 1`; no more than one strip lies in memory. */
function eachRow(image, first, end, visit) {
  for (let y = first; y < end; y += STRIP_ROWS) {
    const count = Math.min(STRIP_ROWS, end - y), pixels = image.strip(y, count);
    for (let row = 0; row < count; row++) visit(pixels, 4 * row * image.width, y + row);
  }
}

function horizontalFirst(image, columns, rows) {
  const first = rows[0].start, line = 3 * columns.length;
  const between = new Uint8Array((endOf(rows) - first) * line), out = new Uint8Array(rows.length * line);
  eachRow(image, first, endOf(rows), (row, from, y) => resampleRow(row, from, 4, columns, between, (y - first) * line));
  rows.forEach(({ start, weights }, row) => {
    for (let x = 0; x < line; x++) {
      let sum = HALF;
      for (let y = 0, place = (start - first) * line + x; y < weights.length; y++, place += line) sum += between[place] * weights[y];
      out[row * line + x] = clip(sum);
    }
  });
  return out;
}

function verticalFirst(image, columns, rows) {
  const first = columns[0].start, line = 3 * (endOf(columns) - first);
  const sums = new Int32Array(rows.length * line).fill(HALF);
  eachRow(image, rows[0].start, endOf(rows), (pixels, from, y) => rows.forEach(({ start, weights }, row) => {
    const weight = weights[y - start];
    if (!weight) return;
    for (let x = 0, at = row * line, place = from + 4 * first; x < line; x += 3, place += 4) {
      sums[at++] += pixels[place] * weight;
      sums[at++] += pixels[place + 1] * weight;
      sums[at++] += pixels[place + 2] * weight;
    }
  }));
  const between = Uint8Array.from(sums, clip), out = new Uint8Array(rows.length * 3 * columns.length);
  const shifted = columns.map(({ start, weights }) => ({ start: start - first, weights }));
  for (let row = 0; row < rows.length; row++) resampleRow(between, row * line, 3, shifted, out, row * 3 * columns.length);
  return out;
}

/**
 * image: {width, strip(y, count) -> RGBA bytes of `count` rows}. columns, rows: `weightsOf` the two axes.
 * Returns uint8 RGB of rows.length x columns.length pixels. The order of the passes shows: each rounds to 8 bits.
 */
export function resample(image, columns, rows, vertical) {
  return (vertical ? verticalFirst : horizontalFirst)(image, columns, rows);
}
