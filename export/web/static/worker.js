// The worker: loads the engine, then turns files into records. Runs in its own thread, so that the page stays alive.

import { ImageError, decode } from "./decode.js";
import { load } from "./loading.js";
import { prepare } from "./prepare.js";
import { openSession } from "./session.js";
import { sha256 } from "./sha256.js";
import { decide, imageReasons, likelihoodRatio, probability, scoredArea, statReasons } from "./verdict.js";

/** Engine, session and rules: `score(file, name)` gives {record, lcas}. report(loaded, total): bytes. */
export async function openDetector(site, options, report) {
  const cache = `cinemae ${new URL("./", options.base).href} ${site.version}`; // as the service worker names it
  const fetched = (file, progress) => load({ ...file, url: new URL(file.url, options.base).href }, cache, progress);
  const engine = await fetched(site.engine, (bytes) => report(bytes, site.engine.bytes));
  const session = await openSession(engine, site.manifest, options, (name) => fetched(site.ort[name]));
  return { session, score: (file, name) => score(file, name, site, session) };
}

async function score(file, name, site, session) {
  const { manifest, texts, limits } = site, base = { ...site.record, path: name };
  try {
    if (file.size > limits.maxFileBytes) throw new ImageError(`${file.size.toLocaleString("en")} bytes are more than this page reads`, "too_large");
    const bytes = new Uint8Array(await file.arrayBuffer());
    base.sha256 = await sha256(bytes);
    const decoded = await decode(bytes, limits.maxPixels);
    const image = prepare(decoded, manifest.preprocess, limits);
    decoded.close();
    [base.width, base.height] = [image.width, image.height];
    const { logit, stats: [s1, s2, s3], lcas } = await session.run(image.pixels), stats = { s1, s2, s3 };
    if (![logit, s1, s2, s3].every(Number.isFinite)) throw new ImageError("the engine gave a score that is not finite; use an engine of higher precision", "engine");
    const reasons = [...imageReasons(image, manifest, limits, texts), ...statReasons(stats, manifest.stat_ranges, texts)];
    const [verdict, more] = decide(logit, manifest.calibration, texts);
    const record = {
      ...base, status: "ok", verdict, probability: probability(manifest.calibration, logit), logit, stats,
      likelihood_ratio: likelihoodRatio(manifest.calibration, logit, site.ratioWords),
      scored_area: scoredArea(image, manifest.preprocess), reasons: [...reasons, ...more],
    };
    return { record, lcas: lcas.map((value) => (Number.isNaN(value) ? null : value)) };
  } catch (error) {
    const known = error instanceof ImageError, text = known ? error.message : `cannot be read (${error.message})`;
    return { record: { ...base, error: { kind: known ? error.kind : "unreadable", text } }, lcas: null };
  }
}

/** Answer the page's messages: {start: options} once, then {id, file, name}. */
export function serveDetector(site) {
  let detector = null, turn = Promise.resolve();
  self.onmessage = async ({ data }) => {
    if (data.start) {
      try {
        detector = await openDetector(site, data.start, (loaded, total) => postMessage({ loaded, total }));
        const { device, threads, golden } = detector.session;
        postMessage({ ready: { device, threads, golden } });
      } catch (error) {
        postMessage({ failed: error.message });
      }
      return;
    }
    // One after the other: a session runs one image at a time.
    turn = turn.then(async () => postMessage({ id: data.id, ...await detector.score(data.file, data.name) }));
  };
}
