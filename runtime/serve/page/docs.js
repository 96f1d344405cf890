// The HTTP interface as a page, from the server's own description of it.

const find = (id) => document.getElementById(id);
const element = (kind, text, ...inside) => {
  const made = document.createElement(kind);
  made.textContent = text;
  made.append(...inside);
  return made;
};
const row = (...cells) => element("tr", "", ...cells.map((cell) => element("td", cell)));

/** A table with a heading, or nothing where there are no rows. */
function table(heading, rows) {
  return rows.length ? [element("h3", heading), element("table", "", element("tbody", "", ...rows))] : [];
}

const typeOf = (schema) => schema.type ?? schema.$ref?.split("/").pop() ?? schema.anyOf?.map(typeOf).join(" or ") ?? "";

function operation(method, path, about) {
  const parameters = (about.parameters ?? []).map((item) => row(item.name, typeOf(item.schema), item.description ?? ""));
  const bodies = Object.keys(about.requestBody?.content ?? {}).map((kind) => row(kind));
  const answers = Object.entries(about.responses).map(([code, answer]) => row(code, answer.description));
  return element("section", "", element("h2", `${method.toUpperCase()} ${path}`), element("p", about.summary ?? ""), element("p", (about.description ?? "").replaceAll("`", "")),
    ...table("Parameters", parameters), ...table("Body", bodies), ...table("Responses", answers));
}

async function load(token) {
  const answer = await fetch("openapi.json", { headers: token ? { Authorization: `Bearer ${token}` } : {} });
  find("ask").hidden = answer.status !== 401;
  if (!answer.ok) {
    find("state").textContent = answer.status === 401 ? "" : `The description cannot be loaded (${answer.status}).`;
    return;
  }
  const { paths, info } = await answer.json();
  find("state").textContent = `Version ${info.version}`;
  find("paths").replaceChildren(...Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, about]) => operation(method, path, about))));
  document.documentElement.dataset.ready = "true";
}

find("example").textContent = `curl --data-binary @photo.jpg ${new URL("v1/detect", document.baseURI).href}`;
find("ask").addEventListener("submit", (event) => { event.preventDefault(); load(find("token").value); });
load("").catch(() => { find("state").textContent = "The server cannot be reached. Reload the page to try again."; });
