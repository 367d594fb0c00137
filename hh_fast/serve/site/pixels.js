// From a picture of any size to the pixels that the model was trained on. Standard canvas scaling would smooth them.

const { fround } = Math; // float32, as in training
const BAND_PIXELS = 4_000_000; // phones limit the size of a canvas, and photos have more
let canvas;

/** The part of a picture that becomes the model's input, as Keras takes it; beyond the picture (x, y < 0) it is black. */
export function region(width, height, model) {
  const aim = (side, ideal) => {
    if (model.aspect === "stretch") return [0, side];
    if (model.aspect === "pad") {
      const edge = Math.trunc((Math.max(side, ideal) - side) / 2);
      return [-edge, side + 2 * edge];
    }
    const kept = Math.max(1, Math.min(side, ideal));
    return [Math.trunc((side - kept) / 2), kept];
  };
  const [x, w] = aim(width, Math.floor((height * model.width) / model.height));
  const [y, h] = aim(height, Math.floor((width * model.height) / model.width));
  return { x, y, width: w, height: h };
}

// For each of `size` outputs the two inputs that it lies between, and the share of the second. Pixel i has its centre at
// i + 0.5.
function taps(length, size) {
  const scale = fround(length / size);
  return Array.from({ length: size }, (_, i) => {
    const position = fround(fround((i + 0.5) * scale) - 0.5);
    const below = Math.floor(position);
    return [Math.max(below, 0), Math.min(Math.ceil(position), length - 1), fround(position - below)];
  });
}

// Rows of a part of `source` from `top` on, as many as one canvas takes.
function readBand(source, part, top) {
  const rows = Math.min(part.height - top, Math.max(2, Math.floor(BAND_PIXELS / part.width)));
  canvas ??= document.createElement("canvas");
  if (canvas.width !== part.width || canvas.height !== rows) Object.assign(canvas, { width: part.width, height: rows });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.globalCompositeOperation = "copy"; // what the source does not cover becomes 0
  context.imageSmoothingEnabled = false;
  context.drawImage(source, -part.x, -part.y - top);
  return { top, end: top + rows, data: context.getImageData(0, 0, part.width, rows).data };
}

/**
 * The model's input: RGB, values 0 to 255, height x width x 3, rounded half to even.
 * `source` is an ImageBitmap, a canvas or a video of width x height pixels; `model` says { width, height, aspect }.
 */
export function readPixels(source, width, height, model) {
  const part = region(width, height, model);
  const across = taps(part.width, model.width);
  const pixels = new Uint8ClampedArray(model.width * model.height * 3);
  let band = { end: 0 };
  let out = 0;
  for (const [upper, lower, down] of taps(part.height, model.height)) {
    if (lower >= band.end) band = readBand(source, part, upper);
    const { data, top } = band;
    const above = (upper - top) * part.width;
    const under = (lower - top) * part.width;
    for (const [left, right, share] of across) {
      const [a, b, c, d] = [4 * (above + left), 4 * (above + right), 4 * (under + left), 4 * (under + right)];
      for (let channel = 0; channel < 3; channel++) {
        const start = fround(data[a + channel] + fround((data[b + channel] - data[a + channel]) * share));
        const end = fround(data[c + channel] + fround((data[d + channel] - data[c + channel]) * share));
        pixels[out++] = fround(start + fround(fround(end - start) * down));
      }
    }
  }
  return pixels;
}
