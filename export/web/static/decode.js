// An image file -> upright, opaque pixels that are read in strips of rows. PNG is decoded here, the rest by the browser.

import { upright } from "./orientation.js";
import { isPng, pngPixels, readPng } from "./png.js";

const STARTS = ["\xff\xd8\xff", "GIF87a", "GIF89a", "BM", "II*\0", "MM\0*", "II+\0", "MM\0+"];
const UNREADABLE = "not a readable image (empty, damaged, or another kind of file)";

/** An image that cannot be scored; the message is for the record. */
export class ImageError extends Error {}

/** Whether the file starts as one of the formats that the runtime reads, so that both refuse the same files. */
function known(bytes) {
  const text = String.fromCharCode(...bytes.subarray(0, 16));
  return STARTS.some((start) => text.startsWith(start)) || (text.startsWith("RIFF") && text.slice(8, 12) === "WEBP") || text.slice(4, 8) === "ftyp";
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
    if (width * height > maxPixels) throw new ImageError(`${width} x ${height} is more than ${maxPixels.toLocaleString("en")} pixels; scale it down first`);
  };
  if (isPng(bytes)) {
    try {
      const png = readPng(bytes);
      checked(png.width, png.height);
      const image = upright({ ...png, pixels: overWhite(await pngPixels(png)) }, png.orientation);
      return { ...image, strip: (y, count) => image.pixels.subarray(4 * y * image.width, 4 * (y + count) * image.width), close() {} };
    } catch (error) {
      throw error instanceof ImageError ? error : new ImageError(`cannot be decoded (${error.message})`);
    }
  }
  if (!known(bytes)) throw new ImageError(UNREADABLE);
  if (truncatedJpeg(bytes)) throw new ImageError("cannot be decoded (the file is truncated)");
  let bitmap;
  try {
    bitmap = await createImageBitmap(new Blob([bytes]), { colorSpaceConversion: "none" });
  } catch {
    throw new ImageError("not a readable image (damaged, or a format that this browser does not decode)");
  }
  checked(bitmap.width, bitmap.height);
  return { width: bitmap.width, height: bitmap.height, strip: stripsOf(bitmap), close: () => bitmap.close() };
}

/** Browsers show what there is of a cut-off JPEG; the runtime refuses it. */
function truncatedJpeg(bytes) {
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return false;
  for (let at = bytes.length - 2; at > 1; at--) if (bytes[at] === 0xff && bytes[at + 1] === 0xd9) return false;
  return true;
}

function stripsOf(bitmap) {
  let canvas = null, pen = null;
  return (y, count) => {
    if (!canvas || canvas.height !== count) {
      canvas = new OffscreenCanvas(bitmap.width, count);
      pen = canvas.getContext("2d", { willReadFrequently: true });
      if (!pen) throw new ImageError("cannot be decoded (too wide for this browser)");
    }
    pen.fillStyle = "white";
    pen.fillRect(0, 0, bitmap.width, count);
    pen.drawImage(bitmap, 0, -y);
    return pen.getImageData(0, 0, bitmap.width, count).data;
  };
}
