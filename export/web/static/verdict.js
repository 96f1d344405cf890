// From a raw logit to probability, verdict and reasons: the rules of verdict.py and reasons.py, whose texts come along.

/** A reason of a code; value: what stands for the braces of its text. */
const reason = (texts, code, value) => ({ code, text: value === undefined ? texts[code] : texts[code].replace(/\{[^}]*\}/, value) });

/** As numpy.interp: linear between knots, constant beyond them. */
function interpolated(x, knots, values) {
  if (x <= knots[0]) return values[0];
  if (x >= knots.at(-1)) return values.at(-1);
  const after = knots.findIndex((knot) => knot > x), before = after - 1;
  return ((values[after] - values[before]) / (knots[after] - knots[before])) * (x - knots[before]) + values[before];
}

/** P(AI) in [0, 1] of a raw logit, as `Calibration.probability` at a prior of one half. */
export function probability({ likelihood }, logit) {
  const at = (column) => interpolated(logit, likelihood.logits, likelihood[column]);
  const x = likelihood ? Math.min(Math.max(0, at("low")), at("high")) * Math.LN10 : logit;
  return x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x));
}

/** The ENFSI words for a ratio, as `support_words`; scale: [power of ten, word] in ascending order. */
function supportWords(value, low, high, scale) {
  if (low <= 1 && 1 <= high) return "no support either way";
  const [, word] = scale.find(([bound]) => Math.abs(Math.log10(value)) <= bound) ?? [0, "extremely strong"];
  return `${word} support for ${value > 1 ? "AI-generated" : "real"}`;
}

/** The likelihood ratio of a raw logit, as `LikelihoodRatio.of`; null where the engine was not measured. */
export function likelihoodRatio({ likelihood }, logit, scale) {
  if (!likelihood) return null;
  const [value, low, high] = ["ratio", "low", "high"].map((column) => 10 ** interpolated(logit, likelihood.logits, likelihood[column]));
  const [real, ai] = [likelihood.real_share, likelihood.ai_share].map((shares) => interpolated(logit, likelihood.logits, shares));
  const support = supportWords(value, low, high, scale), written = (number) => Number(number.toPrecision(2)).toLocaleString("en", { maximumFractionDigits: 12 });
  const text = `likelihood ratio ${written(value)} (${written(low)} to ${written(high)}): ${support}; ${percentOf(real)} of the real and ` +
    `${percentOf(ai)} of the AI images measured score this high or higher`;
  return { value, low, high, real_share: real, ai_share: ai, support, text };
}

/** A share in [0, 1], as `percent` of likelihood_ratio.py writes it. */
function percentOf(share) {
  const decimals = share >= 0.1 && share <= 0.9 ? 0 : 1;
  return `${(Math.floor(100 * share * 10 ** decimals + 0.5) / 10 ** decimals).toFixed(decimals)} %`;
}

/**
 * [verdict, reasons: why it is uncertain, or that no rate is known] of a finite logit, as `Decision.verdict` and `record_of`.
 * calibration: of a manifest; a threshold of null: its verdict is never given.
 */
export function decide(logit, calibration, texts) {
  const { ai_from: aiFrom, real_below: realBelow } = calibration;
  const verdict = logit >= (aiFrom ?? Infinity) ? "ai" : logit < (realBelow ?? -Infinity) ? "real" : "uncertain";
  // A rate counts where its verdict is given at all.
  const uncalibrated = (aiFrom === null || calibration.false_alarm === null) && (realBelow === null || calibration.miss === null);
  return [verdict, uncalibrated ? [reason(texts, "norate")] : verdict === "uncertain" ? [reason(texts, "band")] : []];
}

/** Mean standard deviation of the patches visible in any run, a channel at a time, in units of [0, 1]. */
export function visibleContrast(pixels, size, patch, visible) {
  const grid = size / patch, seen = [...new Set(visible.flat())];
  let total = 0;
  for (const index of seen) {
    const left = (index % grid) * patch, top = Math.floor(index / grid) * patch;
    for (let channel = 0; channel < 3; channel++) {
      let sum = 0, squares = 0;
      for (let y = top; y < top + patch; y++) {
        for (let x = left; x < left + patch; x++) {
          const value = pixels[3 * (y * size + x) + channel];
          sum += value;
          squares += value * value;
        }
      }
      const mean = sum / patch ** 2;
      total += Math.sqrt(Math.max(0, squares / patch ** 2 - mean * mean));
    }
  }
  return total / (3 * seen.length) / 255;
}

/** A number below 100 as Python's "{:.2g}" writes it: two digits, halves to even, an exponent below 0.0001. */
export function twoDigits(value) {
  const exact = value.toExponential(60), tie = /^\d\.[02468]50*e/.test(exact);
  const near = Number(tie ? exact.replace(/50*e/, "e") : value.toPrecision(2));
  return near < 1e-4 ? near.toExponential().replace(/-(\d)$/, "-0$1") : String(near);
}

/** Share of an image's area that is scored, as `crop_area` of preprocess.py. */
export function scoredArea({ width, height }, { crop, resize_short: resizeShort }) {
  return ((crop / resizeShort) ** 2 * Math.min(width, height)) / Math.max(width, height);
}

/** Reasons that follow from the input alone; image: as `prepare` gives it. limits, texts: of reasons.py. */
export function imageReasons(image, manifest, limits, texts) {
  const { resize_short: resizeShort, crop } = manifest.preprocess, patch = manifest.backbone.config.patch_size, reasons = [];
  const short = Math.min(image.width, image.height), seen = scoredArea(image, manifest.preprocess);
  if (short < limits.TINY_SHORT_SIDE) reasons.push(reason(texts, "tiny"));
  else if (short < resizeShort) reasons.push(reason(texts, "small"));
  if (seen < limits.MIN_SEEN) reasons.push(reason(texts, "crop", twoDigits(100 * seen)));
  if (image.grayscale) reasons.push(reason(texts, "grey"));
  if (visibleContrast(image.pixels, crop, patch, manifest.masks.visible) < limits.LOW_CONTRAST) reasons.push(reason(texts, "flat"));
  return reasons;
}

/** Reasons that follow from statistics outside the range of the training set. */
export function statReasons({ s1, s2, s3 }, ranges, texts) {
  const codes = [];
  if (ranges.s2 && s2 < ranges.s2.low) codes.push("s2-");
  if (ranges.s2 && s2 > ranges.s2.high) codes.push("s2+");
  if (ranges.s3 && s3 > ranges.s3.high) codes.push("s3+");
  if (ranges.s1 && (s1 < ranges.s1.low || s1 > ranges.s1.high)) codes.push("s1");
  return codes.map((code) => reason(texts, code));
}
