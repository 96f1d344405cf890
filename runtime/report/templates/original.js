// The original beside the page: where it still lies there, seen whole with the scored part outlined, and at full size.

/** What part of an image the network saw, in words; "" where the size is not known. */
function scoredPart(row) {
  if (!row.w) return "";
  if (row.t) {
    const logits = row.t.map(([, , , logit]) => logit), ends = [Math.min(...logits), Math.max(...logits)].map((logit) => logit.toFixed(4));
    return row.t.length + " overlapping squares of " + row.t[0][2] + " \u00d7 " + row.t[0][2] + " pixels, logits " + ends.join(" to ");
  }
  const side = Math.round(Math.min(row.w, row.h) * info.crop), share = (side * side) / (row.w * row.h);
  return "the centre " + side + " \u00d7 " + side + " of " + row.w + " \u00d7 " + row.h + " pixels, " + percent(share) + " of the image";
}

function originalOf(row) {
  const figure = make("figure", "original"), frame = make("div", "frame"), image = new Image();
  const caption = make("figcaption", "", "The original, with the scored part outlined. "), zoom = make("button", "", "Full size");
  image.alt = "The original of " + baseName(row.p);
  image.addEventListener("error", () => figure.replaceChildren(make("p", "", "The original is no longer where it was when this report was made, or this browser cannot show it.")));
  image.src = row.f;
  const centre = Math.min(row.w, row.h) * info.crop;
  const outlines = (row.t || [[(row.w - centre) / 2, (row.h - centre) / 2, centre]]).map(([left, top, side]) => {
    const outline = make("span", "outline");
    Object.assign(outline.style, {
      left: (100 * left) / row.w + "%", top: (100 * top) / row.h + "%", width: (100 * side) / row.w + "%", height: (100 * side) / row.h + "%",
    });
    return outline;
  });
  zoom.type = "button";
  zoom.setAttribute("aria-pressed", "false");
  zoom.addEventListener("click", () => zoom.setAttribute("aria-pressed", String(figure.classList.toggle("full"))));
  const sheet = make("div", "sheet");
  frame.tabIndex = 0;
  frame.setAttribute("role", "group");
  frame.setAttribute("aria-label", "The original");
  sheet.append(image, ...outlines);
  frame.append(sheet);
  caption.append(zoom);
  figure.append(frame, caption);
  return figure;
}
