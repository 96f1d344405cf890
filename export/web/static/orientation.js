// EXIF orientation: found in a TIFF block, and applied to RGBA pixels. Browsers do it themselves for JPEG.

/** 1 to 8; 1 where `block` (a TIFF structure, as in PNG's eXIf chunk) is damaged or says nothing. */
export function orientationIn(block) {
  try {
    const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
    const little = view.getUint16(0) === 0x4949, directory = view.getUint32(4, little);
    for (let entry = 0; entry < view.getUint16(directory, little); entry++) {
      const at = directory + 2 + 12 * entry;
      if (view.getUint16(at, little) !== 0x0112) continue;
      const value = view.getUint16(at + 8, little);
      return value >= 1 && value <= 8 ? value : 1;
    }
  } catch { /* damaged EXIF data is no reason to refuse good pixels */ }
  return 1;
}

/** {width, height, pixels: RGBA} as the orientation displays it. */
export function upright({ width, height, pixels }, orientation) {
  if (orientation === 1) return { width, height, pixels };
  const turned = orientation >= 5, wide = turned ? height : width, tall = turned ? width : height;
  const mirrorX = [2, 3, 7, 8].includes(orientation), mirrorY = [3, 4, 6, 7].includes(orientation);
  const from = new Uint32Array(pixels.buffer, pixels.byteOffset, width * height), to = new Uint32Array(wide * tall);
  for (let y = 0, at = 0; y < tall; y++) {
    for (let x = 0; x < wide; x++, at++) {
      const [column, row] = turned ? [y, x] : [x, y];
      to[at] = from[(mirrorY ? height - 1 - row : row) * width + (mirrorX ? width - 1 - column : column)];
    }
  }
  return { width: wide, height: tall, pixels: new Uint8Array(to.buffer) };
}
