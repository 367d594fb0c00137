"""How to call the exported files from Kotlin, Swift, JavaScript and Python: code for the model card."""

from collections.abc import Sequence

from hh_fast.export.describe import ExportedFile

# What suits a phone or a page best comes first.
MOBILE_ORDER = ("int8", "dynamic", "float16", "float32", "int16x8")
PYTHON_ORDER = ("float32", "float16", "dynamic", "int16x8", "int8")

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
from PIL import Image

image = Image.open("photo.jpg").convert("RGB")
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


def _first(files: dict[str, ExportedFile], order: Sequence[str]) -> ExportedFile | None:
    return next((files[name] for name in order if name in files), None)


def _python(file: ExportedFile, image_size: tuple[int, int]) -> str:
    height, width = image_size
    quantized = file.output is not None and file.output.is_quantized
    scale = f" * {file.output.scale:.8g}" if quantized and file.output is not None else ""
    return _PYTHON.format(
        file=file.file, height=height, width=width, dtype="uint8" if quantized else "float32", dequantize=scale
    )


def text(files: Sequence[ExportedFile], image_size: tuple[int, int]) -> str:
    """Markdown with a few lines of code for each platform that the bundle has a file for."""
    by_name = {file.name: file for file in files}
    parts = []
    mobile, python = _first(by_name, MOBILE_ORDER), _first(by_name, PYTHON_ORDER)
    if mobile is not None and python is not None:
        parts += [
            _KOTLIN.format(file=mobile.file),
            _SWIFT.format(stem=mobile.file.removesuffix(".tflite")),
            _JAVASCRIPT.format(file=mobile.file),
            _python(python, image_size),
        ]
    if "saved_model" in by_name:
        parts.append(_SAVED_MODEL)
    return "\n\n".join(parts)
