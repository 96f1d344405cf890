// An onnxruntime-web session: WebGPU where it works and agrees with the golden score, else WebAssembly.

import { goldenImage } from "./golden.js";

const FLAVOURS = {
  webgpu: ["ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify"],
  wasm: ["ort.wasm.min.mjs", "ort-wasm-simd-threaded"],
};

/** Whether there is a real GPU; one that is imitated on the CPU is slower than WebAssembly. */
async function hasGpu() {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  return Boolean(adapter) && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter);
}

async function openOn(device, engine, size, threads, load) {
  const [main, glue] = FLAVOURS[device];
  const script = async (name) => URL.createObjectURL(new Blob([await load(name)], { type: "text/javascript" }));
  const ort = await import(await script(main));
  ort.env.logLevel = "error";
  Object.assign(ort.env.wasm, { numThreads: threads, wasmPaths: { mjs: await script(`${glue}.mjs`) }, wasmBinary: (await load(`${glue}.wasm`)).buffer });
  const session = await ort.InferenceSession.create(engine, { executionProviders: [device] });
  return {
    device, threads,
    /** uint8 RGB [size, size, 3] -> {logit, stats, lcas}. */
    async run(pixels) {
      const output = await session.run({ images: new ort.Tensor("uint8", pixels, [1, size, size, 3]) });
      return { logit: output.logit.data[0], stats: [...output.stats.data], lcas: [...output.lcas.data] };
    },
    close: () => session.release(),
  };
}

/**
 * device: "auto", "webgpu" or "wasm". threads: of WebAssembly; more than one needs a cross-origin isolated page.
 * load(name) gives the bytes of a file of onnxruntime-web. Throws where no device agrees with the golden score.
 */
export async function openSession(engine, manifest, { device, threads }, load) {
  const size = manifest.preprocess.crop, golden = manifest.golden;
  const devices = device !== "auto" ? [device] : await hasGpu() ? ["webgpu", "wasm"] : ["wasm"];
  for (const [index, name] of devices.entries()) {
    const last = index === devices.length - 1;
    try {
      const session = await openOn(name, engine, size, threads, load);
      const { logit } = await session.run(goldenImage(size));
      const off = golden ? Math.abs(logit - golden.logit) : 0;
      if (off <= (golden?.tolerance ?? 0)) return { ...session, golden: logit };
      await session.close();
      throw new Error(`this browser scores the self-test image ${logit.toFixed(4)} instead of ${golden.logit.toFixed(4)} on ${name}`);
    } catch (error) {
      if (last) throw error;
    }
  }
}
