// Reviewed marks and notes of the reader, kept in this browser for this report, and saved as CSV.
const REVIEW_KEY = "cinemae review " + info.title + " " + info.when;
const reviews = readReviews();

function readReviews() {
  try { return JSON.parse(localStorage.getItem(REVIEW_KEY)) || {}; } catch { return {}; }
}
const reviewOf = (row) => reviews[row.index] || { reviewed: false, label: "", note: "" };
const LABELS = ["", "AI", "real", "unclear"];

function setReview(row, change) {
  reviews[row.index] = { ...reviewOf(row), ...change };
  try { localStorage.setItem(REVIEW_KEY, JSON.stringify(reviews)); } catch { /* kept until the page is closed */ }
  for (const card of document.querySelectorAll('.card[data-index="' + row.index + '"]')) markCard(card, row);
}
function markCard(card, row) {
  const { reviewed, label } = reviewOf(row);
  card.classList.toggle("reviewed", reviewed || Boolean(label));
  card.dataset.review = "\u2713\u00a0" + (label || "reviewed");
}

/** The form for one image. */
function reviewForm(row) {
  const form = make("div", "review"), label = make("label", "", "Reviewed"), box = make("input"), noteLabel = make("label", "", "Note"), note = make("textarea");
  const ownLabel = make("label", "", "Your label"), own = make("select");
  own.append(...LABELS.map((text) => make("option", "", text)));
  own.value = reviewOf(row).label ?? "";
  own.addEventListener("change", () => setReview(row, { label: own.value }));
  ownLabel.append(own);
  box.type = "checkbox";
  box.checked = reviewOf(row).reviewed;
  note.value = reviewOf(row).note;
  note.rows = 2;
  box.addEventListener("change", () => setReview(row, { reviewed: box.checked }));
  note.addEventListener("input", () => setReview(row, { note: note.value }));
  label.prepend(box);
  noteLabel.append(note);
  form.append(label, ownLabel, noteLabel);
  return form;
}

/** One cell; text that a spreadsheet would take for a formula is marked as text. */
function csvCell(value) {
  const text = String(value ?? ""), safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? "'" + text : text;
  return /[",\r\n]/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe;
}
function saveReviews() {
  const lines = [["path", "sha256", "verdict", "likelihood_ratio", "probability", "reviewed", "label", "note"]];
  for (const row of rows) lines.push([row.p, row.d, row.kind, row.x?.[0], row.q, reviewOf(row).reviewed ? "yes" : "no", reviewOf(row).label, reviewOf(row).note]);
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([info.bom + lines.map((line) => line.map(csvCell).join(",") + "\n").join("")], { type: "text/csv" }));
  link.download = "cinemae-review.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
byId("save-review").addEventListener("click", saveReviews);
