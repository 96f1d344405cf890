// Makes the site work offline and gives it the headers that threads need. `SITE` (version, shell, csp) is above.

const PREFIX = `cinemae ${registration.scope} `, CACHE = PREFIX + SITE.version;
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp", "Content-Security-Policy": SITE.csp,
};

addEventListener("install", (event) => {
  skipWaiting();
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(SITE.shell.map((url) => new Request(url, { cache: "reload" })))));
});

addEventListener("activate", (event) => {
  // Other sites may live on this origin: only this site's older caches go.
  const old = (name) => name.startsWith(PREFIX) && name !== CACHE;
  event.waitUntil(caches.keys().then((names) => Promise.all(names.filter(old).map((name) => caches.delete(name)))).then(() => clients.claim()));
});

addEventListener("fetch", (event) => {
  if (event.request.method === "GET" && event.request.url.startsWith(registration.scope)) event.respondWith(answer(event.request));
});

async function answer(request) {
  const found = await (await caches.open(CACHE)).match(request, { ignoreSearch: true }) ?? await fetch(request);
  const headers = new Headers(found.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(found.body, { status: found.status, statusText: found.statusText, headers });
}
