"use strict";
// The words for verdicts, in the report and on the server's page.
const VERDICTS = ["ai", "uncertain", "real", "error"];
const LABEL = { ai: "AI", uncertain: "Uncertain", real: "Real", error: "Not scored" };
const LIKELY = { ai: "Likely AI-generated", real: "Likely real" };

/** Whether a verdict stands beside a probability on the other side of one half, as `is_contrary` in runtime/scoring/reading.py. */
const isContrary = (verdict, probability) => (verdict === "real" ? probability > 0.5 : verdict === "ai" && probability < 0.5);

/** The word for a verdict: a likelihood only where a rate is known for it and the probability agrees. */
const wordOf = (verdict, probability, rate) => ((rate ?? null) !== null && !isContrary(verdict, probability) && LIKELY[verdict]) || LABEL[verdict];

/** The colour class of a verdict: a contrary one does not get its own. */
const toneOf = (verdict, probability) => (isContrary(verdict, probability) ? "uncertain" : verdict);
