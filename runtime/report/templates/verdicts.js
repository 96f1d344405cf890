"use strict";
// The words for verdicts, in the report and on the server's page.
const VERDICTS = ["ai", "uncertain", "real", "error"];
const LABEL = { ai: "AI", uncertain: "Uncertain", real: "Real", error: "Not scored" };
const LIKELY = { ai: "Likely AI-generated", real: "Likely real" };

/** Whether a verdict stands beside a probability on the other side of one half, as `is_contrary` in runtime/scoring/reading.py. */
const isContrary = (verdict, probability) => (verdict === "real" ? probability > 0.5 : verdict === "ai" && probability < 0.5);

/** What the facts of a file come to, in a few words each: its badges. No badge says that a file can be trusted. */
function marksOf(facts) {
  const declared = new Set(facts.map(({ declares }) => declares)), credentials = facts.filter(({ kind }) => kind === "content_credentials");
  const has = (value) => credentials.some((fact) => fact.value === value);
  return [
    declared.has("ai") ? "declares AI" : declared.has("composite") ? "declares AI in part" : declared.has("camera") && "declares a camera",
    has("invalid") || has("unreadable") ? "broken signature" : has("valid") ? "valid signature" : credentials.length && "unchecked signature",
    facts.some(({ kind }) => kind === "camera") && "camera data",
  ].filter(Boolean);
}

/** Codes of what to do about an image that its score does not decide, as `next_steps` in runtime/scoring/reading.py. */
const nextOf = (verdict, isContradicted, marks) => (verdict === "uncertain" || isContradicted
  ? [...(marks.includes("declares AI") ? ["declared"] : ["original", "camera"]), "copies", "engine"] : []);

/** What contradicts a record's score, as `contradictions` in runtime/scoring/reading.py; words: of the run. */
function contradictionsOf(record, words) {
  const isReal = record.verdict === "real" || (record.likelihood_ratio ?? { high: 1 }).high < 1;
  const isDeclared = (record.evidence ?? []).some((fact) => fact.declares === "ai");
  return [isDeclared && isReal && words.declared, isContrary(record.verdict, record.probability) && words.contrary].filter(Boolean);
}

/** The word for a verdict: a likelihood only where a rate is known for it and nothing contradicts it. */
const wordOf = (verdict, isContradicted, rate) => ((rate ?? null) !== null && !isContradicted && LIKELY[verdict]) || LABEL[verdict];

/** The colour class of a verdict: a contradicted one does not get its own. */
const toneOf = (verdict, isContradicted) => (isContradicted ? "uncertain" : verdict);
