// A picture file without its colour profile: training applies none, and WebKit does so whatever createImageBitmap is asked.

const PNG_COLOURS = ["cHRM", "cICP", "gAMA", "iCCP", "sRGB"];

// Start and end of each part to leave out: a JPEG's segments and a PNG's chunks name their own lengths.
function* profiles(bytes) {
  const view = new DataView(bytes.buffer);
  const text = (at, length) => String.fromCharCode(...bytes.subarray(at, at + length));
  const isPng = text(1, 3) === "PNG";
  let at = isPng ? 8 : 2;
  while (at + 12 <= bytes.length && (isPng || (bytes[at] === 0xff && bytes[at + 1] !== 0xda))) {
    const end = at + (isPng ? 12 + view.getUint32(at) : 2 + view.getUint16(at + 2));
    if (isPng ? PNG_COLOURS.includes(text(at + 4, 4)) : text(at + 4, 11) === "ICC_PROFILE") yield [at, end];
    at = end;
  }
}

export async function withoutProfile(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const isJpeg = bytes[0] === 0xff && bytes[1] === 0xd8;
  const isPng = bytes[0] === 0x89 && bytes[1] === 0x50;
  const kept = [];
  let from = 0;
  for (const [start, end] of isJpeg || isPng ? profiles(bytes) : []) {
    kept.push(bytes.subarray(from, start));
    from = end;
  }
  return new Blob([...kept, bytes.subarray(from)], { type: file.type });
}
