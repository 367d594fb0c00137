"""How to call the exported files from Kotlin, Swift, JavaScript and Python: code for the model card."""

from collections.abc import Mapping

from hh_fast.export.bundle_metadata import ExportedFile

# What suits a phone or a page best comes first.
MOBILE_ORDER = ("int8", "dynamic", "float16", "float32", "int16x8")
PYTHON_ORDER = ("float32", "float16", "dynamic", "int16x8", "int8")

_PAGE = """\
**On a phone, without an app**: hh_fast's page runs `{file}` on the phone itself, on its camera or on photos:

    bin/serve --export_dir=FOLDER                  # FOLDER holds this file; scan the QR code that it prints
    bin/serve --export_dir=FOLDER --site_dir=site  # a static site for any https host; it installs, and works offline"""

_NOTE = """\
The Kotlin and Swift code was not compiled here. MediaPipe, which it and the JavaScript call, resizes bilinearly too, but takes its
samples at other places (output i from input i * scale, not from pixel centres): scores moved by up to 0.066 in a comparison. The page
resizes as in training, the Python code too but for rounding; an HTML canvas or Pillow's `resize` would smooth."""

_KOTLIN = """\
**Android (Kotlin)**, with `com.google.mediapipe:tasks-vision` and the file in `src/main/assets`:

```kotlin
val classifier = ImageClassifier.createFromFile(context, "{file}")
val image = BitmapImageBuilder(bitmap).build()  // an ARGB_8888 bitmap of any size
val best = classifier.classify(image).classificationResult().classifications()[0].categories()[0]
Log.i("classifier", "${{best.categoryName()}} ${{best.score()}}")
```"""

_SWIFT = """\
**iOS (Swift)**, with the pod `MediaPipeTasksVision` and the file in the app's bundle:

```swift
let path = Bundle.main.path(forResource: "{stem}", ofType: "tflite")!
let classifier = try ImageClassifier(modelPath: path)
let result = try classifier.classify(image: MPImage(uiImage: image))
let best = result.classificationResult.classifications[0].categories[0]
print(best.categoryName ?? "", best.score)
```"""

_JAVASCRIPT = """\
**Web (JavaScript)**, with `@mediapipe/tasks-vision`:

```js
import {{ FilesetResolver, ImageClassifier }} from "@mediapipe/tasks-vision";

const fileset = await FilesetResolver.forVisionTasks("node_modules/@mediapipe/tasks-vision/wasm");
const classifier = await ImageClassifier.createFromOptions(fileset, {{
  baseOptions: {{ modelAssetPath: "{file}", delegate: "CPU" }},
}});
const best = classifier.classify(document.querySelector("img")).classifications[0].categories[0];
console.log(best.categoryName, best.score);
```"""

_PYTHON = """\
**Python**, with `ai-edge-litert`, `pillow` and `numpy`, without TensorFlow:

```python
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageOps

image = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")  # upright
# Bilinear without smoothing, as in training; image.resize() would smooth.
image = image.transform(({width}, {height}), Image.Transform.EXTENT, (0, 0, *image.size), Image.Resampling.BILINEAR)
classify = Interpreter("{file}").get_signature_runner()
scores = classify(image=np.asarray(image, np.{dtype})[None])["scores"][0]{dequantize}
print(dict(zip(Path("labels.txt").read_text().splitlines(), scores.tolist())))
```"""

_SAVED_MODEL = """\
**Python with TensorFlow**, from encoded images of any size:

```python
from pathlib import Path

import tensorflow as tf

serve = tf.saved_model.load("saved_model").signatures["serving_bytes"]
result = serve(image_bytes=tf.constant([Path("photo.jpg").read_bytes()]))
print(result["classes"].numpy(), result["scores"].numpy())
```"""


def _python(file: ExportedFile, image_size: tuple[int, int]) -> str:
    height, width = image_size
    scale = file.output.quantization.scale if file.output and file.output.quantization else None
    return _PYTHON.format(
        file=file.file,
        height=height,
        width=width,
        dtype="float32" if scale is None else "uint8",
        dequantize="" if scale is None else f" * {scale:.8g}",
    )


def text(files: Mapping[str, ExportedFile], image_size: tuple[int, int]) -> str:
    """Markdown with a few lines of code for each platform that the bundle has a file for."""
    parts = []
    mobile, python = ([files[name] for name in order if name in files] for order in (MOBILE_ORDER, PYTHON_ORDER))
    if mobile:
        name = mobile[0].file
        parts += [_PAGE.format(file=files["int8"].file)] if "int8" in files else []
        parts += [
            _KOTLIN.format(file=name),
            _SWIFT.format(stem=name.removesuffix(".tflite")),
            _JAVASCRIPT.format(file=name),
            _NOTE,
            _python(python[0], image_size),
        ]
    if "saved_model" in files:
        parts.append(_SAVED_MODEL)
    return "\n\n".join(parts)
