"use strict";
// Where a score lies between the measured images, in the report and on the server's page.

function shape(tag, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

/** Place of a raw logit on the axis of a spread, in [0, 1]; scores beyond an end are at the end. */
const placeOf = (spread, logit) => Math.min(1, Math.max(0, (logit - spread.low) / (spread.high - spread.low)));

/** Raw logits of a run's thresholds: below the first the verdict is real, from the last on it is ai; one where they are equal. */
const thresholdsOf = (run) => [...new Set([run.real_below, run.ai_from].filter((logit) => logit !== null))];

/** Draw into an svg: both measured distributions, the thresholds of a run and, where it is given, the place of a score. */
function drawSpread(svg, spread, run, logit) {
  const { width, height } = svg.viewBox.baseVal, upright = (at, name) => shape("line", { class: name, x1: at, x2: at, y1: 0, y2: height });
  for (const kind of ["real", "ai"]) {
    const points = spread[kind].map((density, i) => ((i + 0.5) / spread[kind].length) * width + " " + (height - density * height * 0.95));
    if (points.length) svg.append(shape("path", { class: "measured " + kind, d: "M0 " + height + "L" + points.join("L") + "L" + width + " " + height + "z" }));
  }
  for (const cut of thresholdsOf(run)) svg.append(upright(placeOf(spread, cut) * width, "mark"));
  if (logit !== undefined) svg.append(upright(Math.min(width - 1, Math.max(1, placeOf(spread, logit) * width)), "here"));
}

/** Write the likelihood ratios below an axis. */
function markRatios(element, spread) {
  element.replaceChildren(...spread.ratios.map(([text, logit]) => {
    const mark = document.createElement("span");
    mark.textContent = text;
    mark.style.left = placeOf(spread, logit) * 100 + "%";
    return mark;
  }));
  element.hidden = !spread.ratios.length;
}

/** The verdicts that are given, with their thresholds as scores. */
const decisionOf = (run) => [run.ai_from !== null && "AI from " + run.ai_from.toFixed(2), run.real_below !== null && "real below " + run.real_below.toFixed(2)].filter(Boolean).join(", ") || "none is given";
