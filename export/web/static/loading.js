// Large files: streamed with progress, checked by hash, kept in the browser's cache. A damaged one never gets there.

import { sha256 } from "./sha256.js";

async function streamed(answer, bytes, progress) {
  const out = new Uint8Array(bytes), reader = answer.body.getReader();
  for (let at = 0; ;) {
    const { value, done } = await reader.read();
    if (done) return out.subarray(0, at);
    if (at + value.length > bytes) return out.subarray(0, 0); // longer than it may be: the hash will not fit either
    out.set(value, at);
    progress(at += value.length);
  }
}

/**
 * The bytes of `file` ({url, bytes, sha256}), from the cache or the network. progress(bytes so far) may be called often.
 * Throws where the content is not the one of the hash, after a second try past the HTTP cache.
 */
export async function load(file, cacheName, progress = () => {}) {
  const cache = await globalThis.caches?.open(cacheName).catch(() => null);
  const kept = await cache?.match(file.url);
  if (kept) {
    const data = new Uint8Array(await kept.arrayBuffer());
    if (await sha256(data) === file.sha256) return progress(file.bytes), data;
    await cache.delete(file.url);
  }
  for (const mode of ["default", "reload"]) {
    const answer = await fetch(file.url, { cache: mode }).catch(() => null);
    if (!answer?.ok) throw new Error(`${file.url} cannot be loaded (${answer ? `HTTP ${answer.status}` : "no connection"})`);
    const data = await streamed(answer, file.bytes, progress);
    if (await sha256(data) !== file.sha256) continue;
    // Without room the page still works; it loads the file again next time.
    await cache?.put(file.url, new Response(data, { headers: { "Content-Type": answer.headers.get("Content-Type") ?? "" } })).catch(() => {});
    return data;
  }
  throw new Error(`${file.url} does not match its SHA-256: it is damaged, or of another version of this site. Reload the page.`);
}
