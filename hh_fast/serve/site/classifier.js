// LiteRT.js and the exported model: from pixels to a score for each class.

/** An error for the person at the page: what is wrong, and the remedy. */
export class PageError extends Error {}

async function get(path) {
  const response = await fetch(path).catch(() => null);
  if (!response) throw new PageError(`${path} did not load: check the connection, then reload the page.`);
  if (!response.ok) throw new PageError(`${path} is missing here (${response.status}): make the site again with bin/serve.`);
  return response;
}

/** Loads runtime and model; the result classifies pixels, one image at a time. */
export async function openClassifier() {
  if (typeof WebAssembly === "undefined") {
    throw new PageError("This browser has no WebAssembly: use a current one, or on an iPhone turn Lockdown Mode off for this page.");
  }
  const model = await (await get("model.json")).json();
  const file = new Uint8Array(await (await get(model.file)).arrayBuffer());
  const { scale, zero_point: zeroPoint } = model.output;
  const shape = [1, model.height, model.width, 3];
  let compiled, runtime;
  /** Scores, 0 to 1, in the order of model.class_names, of RGB pixels as `readPixels` makes them. */
  async function classify(pixels) {
    const input = new runtime.Tensor(model.dtype === "uint8" ? new Uint8Array(pixels.buffer) : new Float32Array(pixels), shape);
    const [output] = await compiled.run(input);
    const scores = Array.from(output.toTypedArray(), (stored) => (stored - zeroPoint) * scale);
    input.delete();
    output.delete();
    return scores;
  }
  try {
    runtime = await import("./litert/index.js");
    await runtime.loadLiteRt("litert/litert_wasm_compat_internal.js");
    compiled = await runtime.loadAndCompile(file, { accelerator: "wasm" });
    await classify(new Uint8ClampedArray(3 * model.height * model.width)); // the first run is slower than all others
  } catch (error) {
    throw new PageError(`The runtime did not start: reload the page, or use a current browser. (${error.message ?? error})`);
  }
  return { model, classify };
}
