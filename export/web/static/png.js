// A PNG decoder: browsers give 8-bit pixels, colour-managed and premultiplied, which the runtime's pixels are not.

import { orientationIn } from "./orientation.js";

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const SAMPLES = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const DEPTHS = { 0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16] };
const ADAM7 = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];

export const isPng = (bytes) => SIGNATURE.every((value, index) => bytes[index] === value);

/** {width, height, depth, colour, interlaced} of the header, and the chunks that matter. Throws on a damaged file. */
export function readPng(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), data = [];
  let header = null, palette = null, transparency = null, orientation = 1;
  for (let at = 8; at + 8 <= bytes.length;) {
    const length = view.getUint32(at), kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const chunk = bytes.subarray(at + 8, at + 8 + length);
    if (kind === "IHDR" && chunk.length >= 13) {
      header = { width: view.getUint32(at + 8), height: view.getUint32(at + 12), depth: chunk[8], colour: chunk[9], interlaced: chunk[12] === 1 };
      if (!DEPTHS[header.colour]?.includes(header.depth) || chunk[12] > 1) throw new Error("an unknown kind of PNG");
    } else if (kind === "PLTE") palette = chunk;
    else if (kind === "tRNS") transparency = chunk;
    else if (kind === "IDAT") data.push(chunk);
    else if (kind === "eXIf") orientation = orientationIn(chunk);
    else if (kind === "IEND") break;
    at += 12 + length;
  }
  if (!header || !header.width || !header.height || !data.length || (header.colour === 3 && !palette)) throw new Error("a damaged PNG");
  return { ...header, palette, transparency, data, orientation };
}

/** RGBA pixels, neither colour-managed nor premultiplied; 16-bit gray rounded, other 16-bit colours cut, as Pillow does. */
export async function pngPixels(png) {
  const { width, height, interlaced } = png, pixels = new Uint8Array(4 * width * height), toRgba = converter(png);
  const passes = (interlaced ? ADAM7 : [[0, 0, 1, 1]])
    .map(([left, top, right, down]) => ({ left, top, right, down, wide: Math.ceil((width - left) / right), tall: Math.ceil((height - top) / down) }))
    .filter(({ wide, tall }) => wide > 0 && tall > 0);
  const bits = SAMPLES[png.colour] * png.depth, lineBytes = (wide) => Math.ceil((wide * bits) / 8);
  const total = passes.reduce((sum, { wide, tall }) => sum + tall * (1 + lineBytes(wide)), 0);
  const raw = await inflate(png.data, total), step = Math.max(1, bits >> 3);
  let at = 0;
  for (const { left, top, right, down, wide, tall } of passes) {
    const size = lineBytes(wide);
    let above = new Uint8Array(size);
    for (let row = 0; row < tall; row++, at += size) {
      const line = raw.subarray(at + 1, at + 1 + size);
      unfilter(raw[at++], line, above, step);
      for (let x = 0; x < wide; x++) toRgba(line, x, pixels, 4 * ((top + row * down) * width + left + x * right));
      above = line;
    }
  }
  return pixels;
}

/** The first `total` bytes of the zlib stream in `chunks`; what follows them is nobody's. */
async function inflate(chunks, total) {
  const out = new Uint8Array(total), reader = new Blob(chunks).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  for (let at = 0; at < total;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("the file is truncated");
    out.set(value.length > total - at ? value.subarray(0, total - at) : value, at);
    at += value.length;
  }
  reader.cancel().catch(() => {});
  return out;
}

function unfilter(kind, line, above, step) {
  if (kind > 4) throw new Error("a damaged PNG");
  if (kind === 0) return;
  for (let x = 0; x < line.length; x++) {
    const left = x < step ? 0 : line[x - step], up = above[x];
    if (kind === 1) line[x] += left;
    else if (kind === 2) line[x] += up;
    else if (kind === 3) line[x] += (left + up) >> 1;
    else {
      const corner = x < step ? 0 : above[x - step];
      const toLeft = Math.abs(up - corner), toUp = Math.abs(left - corner), toCorner = Math.abs(left + up - 2 * corner);
      line[x] += toLeft <= toUp && toLeft <= toCorner ? left : toUp <= toCorner ? up : corner;
    }
  }
}

/** A function that writes pixel x of an unfiltered line as RGBA at `out[at]`. */
function converter({ depth, colour, palette, transparency }) {
  const key = transparency && colour !== 3 ? [0, 2, 4].map((i) => (transparency[i] << 8) | transparency[i + 1]) : null;
  const bytes = depth === 16 ? 2 : 1;
  const set = (out, at, red, green, blue, alpha) => { out[at] = red; out[at + 1] = green; out[at + 2] = blue; out[at + 3] = alpha; };
  if (colour === 0 || colour === 3) {
    const largest = 2 ** depth - 1;
    const sample = (line, x) => depth === 16 ? (line[2 * x] << 8) | line[2 * x + 1]
      : (line[(x * depth) >> 3] >> (8 - depth - ((x * depth) & 7))) & largest;
    if (colour === 3) {
      return (line, x, out, at) => {
        const index = sample(line, x);
        set(out, at, palette[3 * index] ?? 0, palette[3 * index + 1] ?? 0, palette[3 * index + 2] ?? 0, transparency?.[index] ?? 255);
      };
    }
    return (line, x, out, at) => {
      const value = sample(line, x), gray = depth === 16 ? Math.floor((value * 255 + 32767) / 65535) : (value * 255) / largest;
      // Pillow compares the scaled value, the runtime that of 16 bits as it is stored.
      set(out, at, gray, gray, gray, key && (depth === 16 ? value : gray) === key[0] ? 0 : 255);
    };
  }
  if (colour === 2) {
    return (line, x, out, at) => {
      const [red, green, blue] = [0, 1, 2].map((i) => line[(3 * x + i) * bytes]);
      set(out, at, red, green, blue, key && red === key[0] && green === key[1] && blue === key[2] ? 0 : 255);
    };
  }
  if (colour === 4) return (line, x, out, at) => { const gray = line[2 * x * bytes]; set(out, at, gray, gray, gray, line[(2 * x + 1) * bytes]); };
  return (line, x, out, at) => set(out, at, ...[0, 1, 2, 3].map((i) => line[(4 * x + i) * bytes]));
}
