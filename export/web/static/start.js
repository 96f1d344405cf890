// Around the page: progress while the engine loads, what it runs on, and the service worker that makes it work offline.

const place = (id) => document.getElementById(id);
const megabytes = (bytes) => (bytes / 2 ** 20).toFixed(0);

/** Shows the state of the engine; see `localApi`. */
export const show = {
  progress(loaded, total) {
    place("loading-bar").value = loaded / total;
    place("loading-text").textContent = loaded < total ? `Loading the detector: ${megabytes(loaded)} of ${megabytes(total)} MB` : "Starting the detector";
  },
  failed(message) {
    place("loading-bar").hidden = true;
    place("loading").classList.add("banner");
    place("loading").setAttribute("role", "alert");
    place("loading-text").textContent = `The detector cannot be used: ${message}`;
  },
  ready({ device, threads, golden }) {
    place("loading").hidden = true;
    place("drop").inert = false;
    const more = !globalThis.crossOriginIsolated && navigator.serviceWorker && navigator.hardwareConcurrency > 2 ? " (reload the page to use more)" : "";
    place("device").textContent = device === "webgpu" ? "Runs on WebGPU, on this device." : `Runs on WebAssembly, ${threads === 1 ? "one thread" : `${threads} threads`}${more}, on this device.`;
    Object.assign(document.documentElement.dataset, { device, threads, golden });
  },
};

/** Pages opened from a disk have no workers, modules or cache: say what to do instead of failing quietly. */
export function servedProperly() {
  if (location.protocol !== "file:") return true;
  show.failed("a page opened from the disk may not load it. Serve this folder, for instance with python3 -m http.server, and open its address.");
  return false;
}

export function keepOffline() {
  navigator.serviceWorker?.register("service-worker.js").catch(() => {});
}
