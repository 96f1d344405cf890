/** SHA-256 of bytes, hex. */
export async function sha256(bytes) {
  if (!globalThis.crypto?.subtle) throw new Error("this page needs https, or the address localhost: browsers give no SHA-256 elsewhere");
  return [...new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
