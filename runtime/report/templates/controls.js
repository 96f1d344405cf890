// Buttons, sliders, keys and printing; the last lines start the page.
const PRINT_LIMIT = 2000;

function press(id, key, redraw) {
  state[key] = !state[key];
  byId(id).setAttribute("aria-pressed", String(state[key]));
  redraw();
}
const toggleHeat = () => press("heat", "heat", () => {
  for (const [i, card] of cards) {
    const box = card.querySelector(".picture");
    if (state.heat || card.matches(":hover, :focus")) heatOn(box, state.shown[i]);
    else heatOff(box);
  }
});
const toggleList = () => press("layout", "list", () => { grid.classList.toggle("list", state.list); draw(); });
byId("heat").addEventListener("click", toggleHeat);
byId("layout").addEventListener("click", toggleList);
byId("sort").addEventListener("change", (event) => { state.sort = event.target.value; update(); });
byId("text").addEventListener("input", (event) => { state.text = event.target.value; update(); });
for (const end of ["from", "to"]) byId(end).addEventListener("input", (event) => {
  const value = Number(event.target.value);
  state[end] = end === "from" ? Math.min(value, state.to) : Math.max(value, state.from);
  event.target.value = state[end];
  update();
});
byId("reset").addEventListener("click", () => {
  Object.assign(state, { verdicts: new Set(VERDICTS), text: "", from: 0, to: 100, mark: "" });
  byId("text").value = "";
  byId("from").value = 0;
  byId("to").value = 100;
  update();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || dialog.open || event.target.closest("input, select")) return;
  const action = { "/": () => byId("text").focus(), h: toggleHeat, l: toggleList }[event.key];
  if (action) { event.preventDefault(); action(); }
});
addEventListener("scroll", queue, { passive: true });
addEventListener("resize", queue);

addEventListener("beforeprint", () => {
  const some = state.shown.slice(0, PRINT_LIMIT);
  grid.replaceChildren(...some.map(cardOf));
  cards.clear();
  printing = true;
  const rest = state.shown.length - some.length;
  byId("printnote").textContent = rest ? number.format(rest) + " more images match and are not printed; filter first." : "";
});
addEventListener("afterprint", () => { printing = false; grid.replaceChildren(); update(); });

head();
update();
document.documentElement.dataset.ready = String(Math.round(performance.now()));
