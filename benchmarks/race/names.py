"""The names of what is raced, and the ratios that may be claimed. No TensorFlow."""

from benchmarks.harness import Claim

# Input alone.
READ_GENERATOR, READ_STOCK, READ_OWN = "ImageDataGenerator", "image_dataset_from_directory", "hh_fast, memory"
READ_CACHED = f"{READ_STOCK}, cache, prefetch"
DECODE_BOUND, COPY_BOUND = "bound: bare decoding, every core", "bound: memory copy, one core"
# Whole trainings.
GENERATOR, STOCK, OWN = "ImageDataGenerator + fit", "stock tf.data + fit", "hh_fast"
OWN_DATA = "hh_fast's data set + fit"
# Whole processes on one frozen network.
STOCK_WHOLE, OWN_WHOLE = "stock tf.data + fit, frozen network", "hh_fast --backbone"
AGAIN = "hh_fast --backbone, again with another learning rate"
FEATURES, RESIDENT_FEATURES = "features of the image files", "bound: features of resident images"
KERAS_FEATURES = "features of resident images by Keras' predict"
# An epoch that took so many times as long as the shortest of its kind was stalled.
STALLED = 1.5

BACKBONE_CLAIMS = (
    Claim("speedup, whole process", STOCK_WHOLE, OWN_WHOLE, "wall_s"),
    Claim("speedup, augmented epoch", f"{STOCK_WHOLE}, augmented", f"{OWN_WHOLE}, augmented", "steady_epoch_s"),
    Claim("share of the engine's bound", FEATURES, RESIDENT_FEATURES, "images_per_s", True),
    Claim("speedup of the engine", RESIDENT_FEATURES, KERAS_FEATURES, "images_per_s"),
)
INPUT_CLAIMS = (
    Claim("first epoch's input", READ_OWN, READ_GENERATOR, "first_images_per_s"),
    Claim("first epoch's input", READ_OWN, READ_CACHED, "first_images_per_s"),
    Claim("steady input", READ_OWN, READ_GENERATOR, "steady_images_per_s"),
    *(
        Claim("first epoch's input: share of the bound", f"hh_fast, {cache}", DECODE_BOUND, "first_images_per_s", True)
        for cache in ("memory", "disk", "none")
    ),
    Claim("steady input: share of the bound", READ_OWN, COPY_BOUND, "steady_images_per_s", True),
)


def arm_name(method: str, precision: str = "float32", *, augment: bool = False) -> str:
    return f"{method}, {precision}{', augmented' if augment else ''}"


def resident_name(method: str, precision: str) -> str:
    return f"bound: resident batch, {'hh_fast' if method == OWN else 'fit'}, {precision}"


def matrix_name(precision: str) -> str:
    return f"bound: matrix product, {precision}"


def fair_pairs(precision: str, *, augment: bool = False) -> list[tuple[str, str, str]]:
    """What hh_fast is compared with, in words; the name of that arm, and of hh_fast's."""
    own = arm_name(OWN, precision, augment=augment)
    return [
        ("ImageDataGenerator as commonly run", arm_name(GENERATOR, augment=augment), own),
        ("stock tf.data at equal precision", arm_name(STOCK, precision, augment=augment), own),
    ]


def training_claims(precision: str) -> list[Claim]:
    """Speedups over what is commonly run and over stock tf.data at equal precision, and hh_fast's shares of its bounds."""
    fair = [(above, below) for augment in (False, True) for _, above, below in fair_pairs(precision, augment=augment)]
    further = [
        (arm_name(STOCK, precision), arm_name(OWN_DATA, precision)),
        (arm_name(STOCK), arm_name(OWN)),
        (arm_name(STOCK), arm_name(OWN_DATA)),
    ]
    pairs = dict.fromkeys([*fair, *further])
    claims = [Claim("speedup, steady-state epoch", above, below, "steady_epoch_s") for above, below in pairs]
    claims += [Claim("speedup, training time", above, below, "wall_s") for above, below in fair]
    own, augmented = (arm_name(OWN, precision, augment=augment) for augment in (False, True))
    claims.append(Claim("images/s with augmentation over without", augmented, own, "steady_images_per_s"))
    for kind in dict.fromkeys((precision, "float32")):
        arm, figure = arm_name(OWN, kind), "steady_images_per_s"
        claims.append(Claim("share of the synthetic bound", arm, resident_name(OWN, kind), figure, True))
        claims.append(Claim("share of the matrix product", arm, matrix_name(kind), figure, True))
    return claims
