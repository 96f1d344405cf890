// The synthetic image of golden.py: integer arithmetic alone, the same bytes everywhere.

/** uint8 RGB [size, size, 3]. */
export function goldenImage(size) {
  const image = new Uint8Array(3 * size * size);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      let pixel = [Math.floor((x * 255) / (size - 1)), Math.floor((y * 255) / (size - 1)), Math.floor((x * x + y * y) / 97) % 256];
      const texture = (x * 1103515245 + y * 12345 + x * y * 7) % 251, half = Math.floor(size / 2);
      if (x > half && y > half) pixel = pixel.map((value) => Math.floor((value + texture) / 2));
      if (Math.floor(x / 28) % 2 === 0 && y < Math.floor(size / 8)) pixel = [230, 230, 230];
      image.set(pixel, 3 * (y * size + x));
    }
  }
  return image;
}
