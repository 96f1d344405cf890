// Records as CSV with the columns of `cinemae run --format csv`.

/** One cell, as `_csv_line` of writers.py makes it: truth values as in Python, and text no formula. */
function cell(value) {
  const plain = typeof value === "boolean" ? (value ? "True" : "False") : String(value ?? "");
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : plain;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** A record by column, as `flat` of record.py makes it. */
function flat(record) {
  const ratio = record.likelihood_ratio, json = (value) => (value?.scored || value?.length ? JSON.stringify(value) : "");
  return {
    ...record, ...record.stats, ...record.run, ...ratio, likelihood_ratio: ratio?.value, ratio_low: ratio?.low, ratio_high: ratio?.high,
    withheld: record.run.withheld.join(" "), error: record.error?.text, error_kind: record.error?.kind,
    reasons: record.reasons.map(({ text }) => text).join("; "), reason_codes: record.reasons.map(({ code }) => code).join(" "),
    evidence: record.evidence.map(({ statement }) => statement).join("; "), frames: json(record.frames), tiles: json(record.tiles),
  };
}

/** The text of a CSV file. */
export function csvOf(records, columns) {
  const lines = records.map(flat).map((row) => columns.map((name) => row[name]));
  return [columns, ...lines].map((line) => `${line.map(cell).join(",")}\n`).join("");
}
