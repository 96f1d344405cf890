// What the site's page has beyond the server's: folders, CSV. It runs in the scope of page.js, once the engine is ready.

/** Files of dropped entries, folders included; each is named by its path. */
async function filesOf(entries, suffixes) {
  const found = [];
  for (const entry of entries) {
    if (entry.isDirectory) {
      const reader = entry.createReader(), inside = [];
      for (let more; (more = await new Promise((done) => reader.readEntries(done, () => done([])))).length;) inside.push(...more);
      inside.sort((a, b) => (a.name < b.name ? -1 : 1));
      found.push(...(await filesOf(inside, suffixes)));
    } else {
      const file = await new Promise((done) => entry.file(done, () => done(null))), path = entry.fullPath.slice(1);
      if (file && (!path.includes("/") || isImage(path, suffixes))) found.push(named(file, path));
    }
  }
  return found;
}

const isImage = (path, suffixes) => suffixes.some((suffix) => path.toLowerCase().endsWith(suffix));
const named = (file, path) => Object.defineProperty(file, "name", { value: path });

addEventListener("drop", async (event) => {
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  dispatchEvent(new Event("dragleave"));
  add(await filesOf(entries, SITE.suffixes));
}, { capture: true });

find("folder").addEventListener("change", (event) => {
  const chosen = [...event.target.files].filter((file) => isImage(file.webkitRelativePath, SITE.suffixes));
  add(chosen.map((file) => named(file, file.webkitRelativePath)).sort((a, b) => (a.name < b.name ? -1 : 1)));
  event.target.value = "";
});

/** One cell, as `_csv_line` of writers.py makes it: truth values as in Python, and text no formula. */
function cell(value) {
  const plain = typeof value === "boolean" ? (value ? "True" : "False") : String(value ?? "");
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : plain;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** A record as one line with the columns of the runtime, as `flat` of record.py makes them. */
function csvLine(record) {
  const ratio = record.likelihood_ratio;
  const flat = {
    ...record, ...record.stats, ...record.run, ...ratio, likelihood_ratio: ratio?.value, ratio_low: ratio?.low, ratio_high: ratio?.high,
    withheld: record.run.withheld.join(" "), error: record.error?.text, error_kind: record.error?.kind,
    reasons: record.reasons.map(({ text }) => text).join("; "), reason_codes: record.reasons.map(({ code }) => code).join(" "),
  };
  return SITE.csv.map((name) => cell(flat[name])).join(",");
}

find("save-csv").addEventListener("click", () => {
  const lines = [SITE.csv.join(","), ...cards.filter((card) => card.record).map((card) => csvLine(card.record))];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines.map((line) => `${line}\n`).join("")], { type: "text/csv" }));
  link.download = "cinemae-records.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});
