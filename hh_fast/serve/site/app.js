// The page: camera, photos, and the result of the newest picture.

import { PageError, openClassifier } from "./classifier.js";
import { readPixels, region } from "./pixels.js";
import { withoutProfile } from "./profile.js";

const $ = (id) => document.getElementById(id);
const MAX_BARS = 6;
const LONG = 12; // letters of a name
const PREVIEW_PIXELS = 1024;
const NONE = "none of these"; // the class of a picture that shows none of the others
const ANY_CAMERA = { facingMode: "environment" }; // the one at the back, where there is one
const HOW = { stretch: "stretched to", crop: "cropped to", pad: "padded to" };
const CAMERA_ERRORS = {
  NotAllowedError: "The camera was refused: allow it for this page in the browser's settings, or choose a photo.",
  NotFoundError: "No camera was found: connect one, or choose a photo.",
  NotReadableError: "The camera is in use elsewhere: close the other app or page, then start it again.",
  OverconstrainedError: "No camera was found that fits: connect another, or choose a photo.",
};

let classifier;
let stream = null; // of the camera, also while paused
let wanted = ANY_CAMERA;
let paused = false;
let turn = 0; // counts what was begun; whoever finds it changed has been overtaken

function showError(text) {
  $("error").textContent = text;
  $("error").hidden = !text;
}

function fail(error) {
  showError(error instanceof PageError ? error.message : `Something went wrong: reload the page. (${error?.message ?? error})`);
}

// Runs what a person asked for, after loading; an error becomes the page's one line.
function asked(action) {
  return async (event) => {
    showError("");
    try {
      await action(event);
    } catch (error) {
      fail(error);
    }
  };
}

// Nothing to show: whatever stood there belongs to another picture.
function clear() {
  for (const id of ["video", "photo", "crop", "result"]) $(id).hidden = true;
  $("empty").hidden = false;
  $("stage").style.setProperty("--ratio", 1);
  $("spoken").textContent = "";
}

function stage(shown, width, height) {
  for (const id of ["video", "photo", "empty"]) $(id).hidden = id !== shown;
  $("stage").style.setProperty("--ratio", width / height);
  const { model } = classifier;
  const part = region(width, height, model);
  $("crop").hidden = model.aspect !== "crop";
  Object.assign($("crop").style, { width: `${(100 * part.width) / width}%`, height: `${(100 * part.height) / height}%` });
}

function nameOf(i) {
  const { class_names: names, unknown_class: unknown } = classifier.model;
  return names[i] === unknown ? NONE : names[i];
}

function showResult(pixels, scores, milliseconds) {
  const { model } = classifier;
  const image = new ImageData(model.width, model.height);
  for (let i = 0, j = 0; j < image.data.length; j++) image.data[j] = j % 4 === 3 ? 255 : pixels[i++];
  $("seen").getContext("2d").putImageData(image, 0, 0);
  const percent = (i) => `${(100 * scores[i]).toFixed(1)}%`;
  const ranked = scores.map((_, i) => i).sort((a, b) => scores[b] - scores[a]);
  const best = nameOf(ranked[0]);
  $("name").textContent = best;
  $("name").classList.toggle("long", best.length >= LONG);
  $("best").classList.toggle("none", best === NONE);
  $("score").textContent = percent(ranked[0]);
  const rows = scores.length > MAX_BARS ? ranked.slice(0, MAX_BARS) : scores.keys();
  for (const [place, i] of [...rows].entries()) {
    const row = $("bars").children[place];
    row.children[0].textContent = nameOf(i);
    row.classList.toggle("none", nameOf(i) === NONE);
    row.children[1].textContent = percent(i);
    row.style.setProperty("--share", scores[i]);
  }
  $("time").textContent = `${Math.round(milliseconds)} ms an image`;
  $("result").hidden = false;
  speak(`${best}, ${Math.round(100 * scores[ranked[0]])}%`);
}

// A screen reader hears of a new class, at most every two seconds, and not of every frame.
let spokenAt = 0;
function speak(text) {
  const isNew = text.split(",")[0] !== $("spoken").textContent.split(",")[0] || !stream;
  if (!isNew || performance.now() - spokenAt < (stream ? 2000 : 0)) return;
  spokenAt = performance.now();
  $("spoken").textContent = text;
}

async function classify(source, width, height) {
  const start = performance.now();
  const pixels = readPixels(source, width, height, classifier.model);
  const scores = await classifier.classify(pixels);
  return [pixels, scores, performance.now() - start];
}

function stopCamera() {
  turn++;
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  $("camera").textContent = "Start the camera";
}

function nextFrame() {
  const video = $("video");
  return new Promise((resolve) => {
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(resolve);
    else requestAnimationFrame(resolve);
  });
}

async function follow() {
  const mine = turn;
  const video = $("video");
  while (turn === mine) {
    await nextFrame();
    if (turn !== mine || !video.videoWidth) continue;
    const { videoWidth: width, videoHeight: height } = video;
    const result = await classify(video, width, height);
    if (turn !== mine) return;
    stage("video", width, height);
    showResult(...result);
  }
}

function startFollowing() {
  $("camera").textContent = "Pause";
  follow().catch((error) => {
    stopCamera();
    fail(error);
  });
}

async function startCamera() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new PageError("The camera needs an https address, or localhost: open that, or take or choose a photo.");
  }
  stopCamera();
  const mine = turn;
  let opened;
  const frame = { width: { ideal: 640 }, height: { ideal: 480 }, resizeMode: "none" }; // the whole frame
  const open = () => navigator.mediaDevices.getUserMedia({ video: { ...wanted, ...frame } });
  try {
    opened = await open().catch((error) => {
      if (!wanted.deviceId) throw error;
      wanted = ANY_CAMERA; // the one that was chosen may be unplugged
      return open();
    });
  } catch (error) {
    throw new PageError(CAMERA_ERRORS[error.name] ?? `The camera did not start: try again, or choose a photo. (${error.message})`);
  }
  if (turn !== mine) {
    for (const track of opened.getTracks()) track.stop();
    return;
  }
  stream = opened;
  paused = false;
  const [track] = stream.getVideoTracks();
  track.addEventListener("ended", () => {
    stopCamera();
    clear();
    showError("The camera stopped: start it again, or choose a photo.");
  });
  $("video").srcObject = stream;
  $("video").classList.toggle("mirrored", track.getSettings().facingMode === "user");
  await $("video").play();
  $("flip").hidden = (await cameras()).length < 2;
  startFollowing();
}

async function cameras() {
  return (await navigator.mediaDevices.enumerateDevices()).filter((device) => device.kind === "videoinput");
}

// Phones know front and back, and have several of each; elsewhere the next camera is taken.
async function switchCamera() {
  const { deviceId, facingMode } = stream?.getVideoTracks()[0].getSettings() ?? {};
  const ids = (await cameras()).map((device) => device.deviceId);
  const next = ids[(ids.indexOf(deviceId) + 1) % ids.length];
  wanted = facingMode ? { facingMode: facingMode === "user" ? "environment" : "user" } : { deviceId: { exact: next } };
  await startCamera();
}

async function toggleCamera() {
  if (!stream) return startCamera();
  turn++;
  paused = !paused;
  if (paused) {
    $("video").pause();
    $("camera").textContent = "Go on";
  } else {
    await $("video").play();
    startFollowing();
  }
}

async function classifyFile(file) {
  if (!file) return;
  stopCamera();
  const mine = turn;
  let bitmap;
  try {
    bitmap = await createImageBitmap(await withoutProfile(file), { colorSpaceConversion: "none" }); // upright by its EXIF
  } catch {
    clear();
    throw new PageError(`${file.name || "This"} is no picture that this browser can read: choose a JPEG, PNG, WebP or GIF.`);
  }
  const { width, height } = bitmap;
  const result = await classify(bitmap, width, height);
  if (turn === mine) {
    const scale = Math.min(1, PREVIEW_PIXELS / Math.max(width, height));
    const photo = $("photo");
    Object.assign(photo, { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) });
    photo.getContext("2d").drawImage(bitmap, 0, 0, photo.width, photo.height);
    stage("photo", width, height);
    showResult(...result);
  }
  bitmap.close();
}

function fileOf(transfer) {
  const file = [...(transfer?.files ?? [])][0];
  if (!file) throw new PageError("That is no picture file: choose, drop or paste a JPEG, PNG, WebP or GIF.");
  return file;
}

function listen() {
  $("camera").addEventListener("click", asked(toggleCamera));
  $("flip").addEventListener("click", asked(switchCamera));
  for (const id of ["file", "shot"]) {
    $(id).addEventListener("change", asked(async ({ target }) => {
      const [file] = target.files;
      target.value = ""; // the same file can be chosen again
      await classifyFile(file);
    }));
  }
  addEventListener("paste", asked(({ clipboardData }) => classifyFile(fileOf(clipboardData))));
  for (const type of ["dragenter", "dragover", "dragleave", "drop"]) {
    addEventListener(type, (event) => {
      event.preventDefault();
      $("stage").classList.toggle("over", type === "dragenter" || type === "dragover");
    });
  }
  addEventListener("drop", asked(({ dataTransfer }) => classifyFile(fileOf(dataTransfer))));
  for (const id of ["camera", "file", "shot"]) $(id).disabled = false;
}

function describe({ class_names: names, width, height, aspect }) {
  Object.assign($("seen"), { width, height });
  $("how").textContent = `The model sees it ${HOW[aspect]} ${width} × ${height}`;
  for (let i = 0; i < Math.min(names.length, MAX_BARS); i++) {
    const row = document.createElement("li");
    row.append(document.createElement("span"), document.createElement("span"));
    $("bars").append(row);
  }
  $("hint").textContent = "Start the camera, or choose a photo.";
}

// Whether a service worker comes as far as `state`.
function reaches(worker, state) {
  return new Promise((resolve) => {
    const look = () => {
      if ([state, "activated", "redundant"].includes(worker.state)) resolve(worker.state !== "redundant");
    };
    worker.addEventListener("statechange", look);
    look();
  });
}

async function keepOffline() {
  if (!navigator.serviceWorker) throw new Error("not offered at this address");
  const registration = await navigator.serviceWorker.register("sw.js");
  if (registration.active) {
    const announce = async () => {
      $("update").hidden = !(await reaches(registration.installing, "installed"));
    };
    if (registration.installing) announce();
    else registration.addEventListener("updatefound", announce);
  } else if (!(await reaches(registration.installing ?? registration.waiting, "activated"))) {
    throw new Error("a file did not load, or is another by now");
  }
  $("offline").textContent = "Ready for use without a network.";
  $("offline").classList.add("ready");
}

addEventListener("beforeinstallprompt", (event) => {
  event.preventDefault();
  $("install").hidden = false;
  $("install").onclick = () => {
    $("install").hidden = true;
    event.prompt();
  };
});

try {
  classifier = await openClassifier();
  describe(classifier.model);
  listen();
  performance.mark("ready");
  keepOffline().catch(() => {
    $("offline").textContent = "Needs a network: offline use is for https with a trusted certificate, and for localhost.";
  });
  const permission = await navigator.permissions?.query({ name: "camera" }).catch(() => null);
  if (permission?.state === "granted" && navigator.mediaDevices) await asked(startCamera)();
} catch (error) {
  $("hint").textContent = "This page could not start.";
  fail(error);
}
