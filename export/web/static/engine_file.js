// What an engine file says of itself: the manifest in the ONNX metadata, read without a protobuf library.

const METADATA_PROPS = 14, BYTES = 2, FIXED = { 1: 8, 5: 4 };

function* fields(bytes) {
  let at = 0;
  const varint = () => {
    for (let value = 0, unit = 1; ; unit *= 128) {
      const byte = bytes[at++];
      if (byte === undefined || unit > 2 ** 63) throw new Error("the engine file is damaged");
      value += (byte & 127) * unit;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint(), kind = tag % 8;
    if (kind === 0) varint();
    else {
      const length = kind === BYTES ? varint() : FIXED[kind];
      if (length === undefined || at + length > bytes.length) throw new Error("the engine file is damaged");
      yield [Math.floor(tag / 8), bytes.subarray(at, at += length)];
    }
  }
}

/** The manifest inside an ONNX engine, parsed. */
export function manifestOf(bytes, key) {
  const text = new TextDecoder();
  for (const [number, entry] of fields(bytes)) {
    if (number !== METADATA_PROPS) continue;
    const pair = Object.fromEntries([...fields(entry)].map(([part, value]) => [part, text.decode(value)]));
    if (pair[1] === key) return JSON.parse(pair[2]);
  }
  throw new Error("the engine holds no manifest");
}

/** SHA-256 of bytes, hex. */
export async function sha256(bytes) {
  if (!globalThis.crypto?.subtle) throw new Error("this page needs https, or the address localhost: browsers give no SHA-256 elsewhere");
  return [...new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
