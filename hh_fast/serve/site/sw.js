// Keeps the whole site, so that the page works offline. bin/serve fills in the files with their hashes, which makes this
// script another one, and the browser fetch everything anew, whenever a file has changed.
const FILES = {/* files */};
const VERSION = "/* version */";
const PREFIX = `hh_fast ${self.registration.scope} `;
const begun = new Map(); // by page, the cache of the version that it began with

self.addEventListener("install", (event) => {
  const requests = Object.entries(FILES).map(([path, integrity]) => new Request(path, { cache: "no-cache", integrity }));
  event.waitUntil(caches.open(PREFIX + VERSION).then((cache) => cache.addAll(requests)));
});

self.addEventListener("activate", (event) => {
  const isOld = (name) => name.startsWith(PREFIX) && name !== PREFIX + VERSION;
  event.waitUntil(
    caches.keys().then((names) => Promise.all(names.filter(isOld).map((name) => caches.delete(name)))),
  );
});

// The newest version that is here whole: also one whose own worker still waits for this one's pages to close.
async function newest() {
  const names = (await caches.keys()).filter((name) => name.startsWith(PREFIX)).reverse();
  for (const name of names) {
    if (await (await caches.open(name)).match("./")) return name;
  }
  return PREFIX + VERSION;
}

async function answer({ request, clientId, resultingClientId }) {
  const page = request.mode === "navigate" ? resultingClientId : clientId;
  if (!begun.has(page)) begun.set(page, await newest());
  const cache = await caches.open(begun.get(page));
  return (await cache.match(request, { ignoreSearch: true, ignoreVary: true })) ?? fetch(request);
}

self.addEventListener("fetch", (event) => {
  if (event.request.method === "GET" && event.request.url.startsWith(self.registration.scope)) {
    event.respondWith(answer(event));
  }
});
