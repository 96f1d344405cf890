// From a raw logit to probability, verdict and reasons: the rules of verdict.py and reasons.py, whose texts come along.

/** A reason of a code; value: what stands for the braces of its text. */
const reason = (texts, code, value) => ({ code, text: value === undefined ? texts[code] : texts[code].replace(/\{[^}]*\}/, value) });

/** P(AI) in [0, 1] of a raw logit. */
export function probability(calibration, logit) {
  const x = calibration.a * logit + calibration.b;
  return x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x));
}

/**
 * [verdict, reasons: why it is uncertain, and that no rate is known] of a finite logit, as decide and verdict_reasons of
 * verdict.py; unusual: at least one reason speaks against trusting it.
 * calibration: of a manifest; a threshold of null: its verdict is never given.
 */
export function decide(logit, calibration, unusual, texts) {
  const aiFrom = calibration.ai_from ?? Infinity, realBelow = calibration.real_below ?? -Infinity, width = aiFrom - realBelow;
  const plain = logit >= aiFrom ? "ai" : logit < realBelow ? "real" : "uncertain";
  // A rate counts where its verdict is given at all.
  const rates = [calibration.ai_from === null ? null : calibration.false_alarm, calibration.real_below === null ? null : calibration.miss];
  const uncalibrated = rates.every((rate) => rate === null) ? [reason(texts, "norate")] : [];
  if (plain === "uncertain") return [plain, uncalibrated.length ? uncalibrated : [reason(texts, "band")]];
  // An unusual input must clear the band by the band's own width as well.
  const near = unusual && width > 0 && realBelow - width <= logit && logit < aiFrom + width;
  return near ? ["uncertain", [reason(texts, "near"), ...uncalibrated]] : [plain, uncalibrated];
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
