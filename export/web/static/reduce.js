// Blocks of pixels averaged, as Pillow's 8-bit `Image.reduce` rounds them (its Reduce.c): `decode: scaled` of the manifest.

/** How many pixels a side are averaged: a power of two that leaves the short side `margin` times as long as the resize needs. */
export function blockOf({ width, height }, { decode, resize_short: short }, margin) {
  const most = decode === "scaled" ? Math.floor((Math.min(width, height) - 1) / (margin * short - 1)) : 1;
  return most > 1 ? 1 << (31 - Math.clz32(most)) : 1;
}

/** image: {width, height, strip(y, count) -> RGBA bytes}, opaque. The same, with sides divided by `block` and rounded up. */
export function reduced(image, block) {
  if (block === 1) return image;
  const width = Math.ceil(image.width / block), height = Math.ceil(image.height / block);

  function row(y, out, at) {
    const rows = Math.min(block, image.height - y * block), pixels = image.strip(y * block, rows);
    for (let x = 0; x < width; x++, at += 4) {
      const columns = Math.min(block, image.width - x * block), count = rows * columns;
      const multiplier = Math.floor(2 ** 24 / count);
      for (let channel = 0; channel < 4; channel++) {
        let sum = count >> 1;
        for (let down = 0; down < rows; down++) {
          let place = 4 * (down * image.width + x * block) + channel;
          for (let right = 0; right < columns; right++, place += 4) sum += pixels[place];
        }
        out[at + channel] = Math.floor(sum * multiplier / 2 ** 24);
      }
    }
  }

  function strip(y, count) {
    const out = new Uint8Array(4 * width * count);
    for (let index = 0; index < count; index++) row(y + index, out, 4 * width * index);
    return out;
  }
  return { width, height, strip };
}
