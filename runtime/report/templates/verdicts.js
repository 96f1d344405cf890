"use strict";
// The words for verdicts, in the report and on the server's page.
const VERDICTS = ["ai", "uncertain", "real", "error"];
const LABEL = { ai: "AI", uncertain: "Uncertain", real: "Real", error: "Not scored" };
const JUDGEMENT = { ...LABEL, ai: "Likely AI-generated", real: "Likely real" };
