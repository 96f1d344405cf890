// Answers what the server's page asks of its server, /v1/engine and /v1/detect, from a worker on this device.

/** The worker starts from a blob, so that it inherits the page's content security policy. */
function startWorker() {
  const script = `importScripts(${JSON.stringify(new URL("site.js", document.baseURI).href)});`;
  return new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
}

/** Threads: half of the CPUs, at most four, as onnxruntime-web's own default; the page and its decoders need the rest. */
function options() {
  const asked = new URLSearchParams(location.search), cpus = navigator.hardwareConcurrency || 1;
  const wanted = Number(asked.get("threads")) || Math.min(4, Math.ceil(cpus / 2));
  const threads = globalThis.crossOriginIsolated ? Math.min(Math.max(1, Math.floor(wanted)), cpus) : 1;
  return { base: document.baseURI, device: asked.get("device") ?? "auto", threads };
}

/** fetch for the page. show: {progress(loaded, total), failed(message), ready({device, threads})}. */
export function localApi(site, show) {
  const worker = startWorker(), waiting = new Map();
  let last = 0;
  const engine = new Promise((resolve) => {
    worker.onmessage = ({ data }) => {
      if (data.ready) {
        show.ready(data.ready);
        resolve(site.body);
      } else if (data.failed) show.failed(data.failed);
      else if (data.total) show.progress(data.loaded, data.total);
      else {
        waiting.get(data.id)(data);
        waiting.delete(data.id);
      }
    };
  });
  worker.onerror = (event) => show.failed(event.message || "the worker cannot start");
  worker.postMessage({ start: options() });
  return async (path, { body } = {}) => {
    if (path.startsWith("v1/engine")) return Response.json(await engine);
    const id = ++last, answer = new Promise((resolve) => waiting.set(id, resolve));
    worker.postMessage({ id, file: body, name: body.name });
    const { record, lcas } = await answer, grid = lcas && Math.sqrt(lcas.length);
    return Response.json({ records: [record], errors: [], heatmaps: [lcas && { grid, lcas }] });
  };
}
