// Keeps the whole site, so that the page works offline. bin/serve fills in the files with their hashes, which makes this
// script another one, and the browser fetch everything anew, whenever a file has changed.
const FILES = {/* files */};
const VERSION = "/* version */";
const CACHE = `hh_fast ${self.registration.scope} `;

self.addEventListener("install", (event) => {
  const requests = Object.entries(FILES).map(([path, integrity]) => new Request(path, { cache: "no-cache", integrity }));
  event.waitUntil(caches.open(CACHE + VERSION).then((cache) => cache.addAll(requests)));
});

self.addEventListener("activate", (event) => {
  const isOld = (name) => name.startsWith(CACHE) && name !== CACHE + VERSION;
  event.waitUntil(
    caches.keys().then((names) => Promise.all(names.filter(isOld).map((name) => caches.delete(name)))),
  );
});

// A page asks for this as it starts, before it has loaded anything; one that runs keeps the version it started with.
self.addEventListener("message", (event) => {
  if (event.data === "activate") self.skipWaiting();
});

self.addEventListener("fetch", (event) => {
  const path = event.request.url.slice(self.registration.scope.length).split(/[?#]/)[0] || "./";
  if (event.request.method !== "GET" || !event.request.url.startsWith(self.registration.scope) || !(path in FILES)) return;
  event.respondWith(
    caches.open(CACHE + VERSION).then(async (cache) => (await cache.match(path)) ?? fetch(event.request)),
  );
});
