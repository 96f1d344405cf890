// An image file -> upright, opaque pixels that are read in strips of rows. PNG is decoded here, the rest by the browser.

import { orientationIn, upright } from "./orientation.js";
import { isPng, pngPixels, readPng } from "./png.js";

const STARTS = ["\xff\xd8\xff", "GIF87a", "GIF89a", "BM", "II*\0", "MM\0*", "II+\0", "MM\0+"];
const UNREADABLE = "not a readable image (empty, damaged, or another kind of file)";

/** An image that cannot be scored; message and kind (see `ErrorKind` of errors.py) are for the record. */
export class ImageError extends Error {
  constructor(message, kind = "damaged") {
    super(message);
    this.kind = kind;
  }
}

const isWebp = (text) => text.startsWith("RIFF") && text.slice(8, 12) === "WEBP";

/** Whether the file starts as one of the formats that the runtime reads, so that both refuse the same files. */
function known(bytes) {
  const text = String.fromCharCode(...bytes.subarray(0, 16));
  return STARTS.some((start) => text.startsWith(start)) || isWebp(text) || text.slice(4, 8) === "ftyp";
}

/** Orientation in the EXIF chunk of a WebP file, which Chromium leaves alone and the runtime applies. */
function webpOrientation(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 12; at + 8 <= bytes.length;) {
    const size = view.getUint32(at + 4, true), chunk = bytes.subarray(at + 8, at + 8 + size);
    if (String.fromCharCode(...bytes.subarray(at, at + 4)) === "EXIF") return orientationIn(chunk[0] === 0x45 ? chunk.subarray(6) : chunk);
    at += 8 + size + (size % 2);
  }
  return 1;
}

/** Lay RGBA pixels over white, in place, with Pillow's rounding. */
export function overWhite(pixels) {
  for (let at = 0; at < pixels.length; at += 4) {
    const alpha = pixels[at + 3];
    if (alpha === 255) continue;
    for (let channel = at; channel < at + 3; channel++) {
      const sum = pixels[channel] * alpha * 128 + 255 * (255 - alpha) * 128 + (128 << 7);
      pixels[channel] = alpha === 0 ? 255 : (((sum >> 8) + sum) >> 8) >> 7;
    }
    pixels[at + 3] = 255;
  }
  return pixels;
}

/**
 * bytes: of the file. Returns {width, height, strip(y, count) -> RGBA bytes, close()}.
 * Throws ImageError for a file that is no image, is damaged, or has more than `maxPixels`.
 */
export async function decode(bytes, maxPixels) {
  const checked = (width, height) => {
    if (width * height > maxPixels) throw new ImageError(`${width} x ${height} is more than ${maxPixels.toLocaleString("en")} pixels; scale it down first`, "too_large");
  };
  if (isPng(bytes)) {
    try {
      const png = readPng(bytes);
      checked(png.width, png.height);
      return inMemory({ ...png, pixels: overWhite(await pngPixels(png)) }, png.orientation);
    } catch (error) {
      throw error instanceof ImageError ? error : new ImageError(`cannot be decoded (${error.message})`);
    }
  }
  if (!known(bytes)) throw new ImageError(UNREADABLE, "unsupported");
  if (truncatedJpeg(bytes)) throw new ImageError("cannot be decoded (the file is truncated)");
  const webp = isWebp(String.fromCharCode(...bytes.subarray(0, 12)));
  let bitmap;
  try {
    bitmap = await createImageBitmap(new Blob([bytes]), { colorSpaceConversion: "none", imageOrientation: webp ? "none" : "from-image" });
  } catch {
    throw new ImageError("not a readable image (damaged, or a format that this browser does not decode)", "unsupported");
  }
  const { width, height } = bitmap, strip = stripsOf(bitmap), orientation = webp ? webpOrientation(bytes) : 1;
  checked(width, height);
  if (orientation !== 1) return inMemory({ width, height, pixels: new Uint8Array(strip(0, height)) }, orientation);
  return { width, height, strip, close: () => bitmap.close() };
}

/** Pixels that are all there, turned upright. */
function inMemory(pixels, orientation) {
  const image = upright(pixels, orientation), line = 4 * image.width;
  return { ...image, strip: (y, count) => image.pixels.subarray(y * line, (y + count) * line), close() {} };
}

/** Browsers show what there is of a cut-off JPEG; the runtime refuses it. A thumbnail's end does not count. */
function truncatedJpeg(bytes) {
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return false;
  let at = 2;
  while (at + 4 <= bytes.length && bytes[at] === 0xff && bytes[at + 1] !== 0xda) {
    at += bytes[at + 1] === 0xff ? 1 : 2 + ((bytes[at + 2] << 8) | bytes[at + 3]);
  }
  for (let end = bytes.length - 2; end > at; end--) if (bytes[end] === 0xff && bytes[end + 1] === 0xd9) return false;
  return true;
}

function stripsOf(bitmap) {
  let canvas = null, pen = null;
  return (y, count) => {
    if (!canvas || canvas.height !== count) {
      canvas = new OffscreenCanvas(bitmap.width, count);
      pen = canvas.getContext("2d", { willReadFrequently: true });
      if (!pen) throw new ImageError("cannot be decoded (too wide for this browser)", "too_large");
    }
    pen.fillStyle = "white";
    pen.fillRect(0, 0, bitmap.width, count);
    pen.drawImage(bitmap, 0, -y);
    return pen.getImageData(0, 0, bitmap.width, count).data;
  };
}
