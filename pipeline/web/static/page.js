// The status page: asks /api/cameras every two seconds, and for pictures of tiles in view in turn.
"use strict";

const POLL_MS = 2000;      // from one answer to the next question
const FRESH_MS = 2000;     // a picture younger than this is left as it is
const LIVE_MS = 20000;     // a live view is begun anew this often
const PATIENCE_MS = 6000;  // an answer that takes longer is given up
const AT_ONCE = 4;         // pictures under way; a browser has six connections, and live pictures hold one

const byId = (id) => document.getElementById(id);
const tiles = new Map();   // camera id -> Tile
let loading = 0;
let lastContact = new Date();

const words = {
  connecting: "connecting", live: "live", frozen: "frozen", offline: "offline", stopped: "stopped", stalled: "not analysed",
};

function span(seconds) {
  if (seconds === null) return "–";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}

class Tile {
  constructor(id) {
    const root = byId("tile").content.firstElementChild.cloneNode(true);
    this.id = id;
    this.root = root;
    this.image = root.querySelector("img");
    this.parts = Object.fromEntries(["state", "why", "fps", "age", "tracks", "missing"].map((name) => [name, root.querySelector(`.${name}`)]));
    root.querySelector("h2").textContent = id;
    root.dataset.camera = id;
    this.image.alt = `newest picture of ${id}`;
    root.querySelector(".picture").addEventListener("click", () => this.camera.picture && look(id));
    this.asked = 0;
    this.busy = false;
    this.inView = false;
  }

  show(camera) {
    this.camera = camera;
    const state = camera.state === "live" && !camera.advancing ? "stalled" : camera.state;
    this.state = state;
    this.troubled = !camera.advancing && camera.state !== "connecting";
    this.root.className = `tile ${state}`;
    this.parts.state.textContent = words[state];
    this.parts.why.textContent = camera.advancing ? "" : `${camera.sentence || camera.why}${camera.reason ? ` (${camera.reason})` : ""}${camera.retry_s > 0 ? `; next try in ${span(camera.retry_s)}` : ""}`;
    this.parts.fps.textContent = `${camera.analysed_fps.toFixed(1)} of ${camera.fps.toFixed(1)} fps`;
    this.parts.age.textContent = span(camera.age_s);
    this.parts.tracks.textContent = camera.active_tracks;
    this.parts.missing.textContent = camera.state === "connecting" ? "no picture yet" : "no picture";
  }

  load() {
    this.busy = true;
    this.asked = Date.now();
    loading += 1;
    const done = (seen) => {
      if (!this.busy) return;
      clearTimeout(timer);
      this.busy = false;
      loading -= 1;
      if (seen) this.image.hidden = false;
      loadPictures();
    };
    const timer = setTimeout(() => done(false), PATIENCE_MS);
    this.image.onload = () => done(true);
    this.image.onerror = () => done(false);
    this.image.src = `cameras/${encodeURIComponent(this.id)}/snapshot.jpg?at=${this.asked}`;
  }
}

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const tile = tiles.get(entry.target.dataset.camera);
    if (tile) tile.inView = entry.isIntersecting;
  }
  loadPictures();
});

function loadPictures() {
  if (document.hidden) return;
  const now = Date.now();
  const due = [...tiles.values()].filter((tile) => tile.inView && !tile.busy && tile.camera.picture && now - tile.asked >= FRESH_MS);
  due.sort((one, other) => one.asked - other.asked);
  for (const tile of due.slice(0, Math.max(0, AT_ONCE - loading))) tile.load();
}

function showDetectors(detectors) {
  const wrong = detectors.filter((detector) => detector.state !== "running");
  byId("detectors").replaceChildren(...wrong.map((detector) => {
    const line = document.createElement("p");
    line.className = "banner";
    line.textContent = `Detector ${detector.model} is ${detector.state}${detector.sentence ? `: ${detector.sentence}` : ""}`;
    return line;
  }));
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const step = bytes > 0 ? Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10)) : 0;
  return `${(bytes / 1024 ** step).toFixed(step && bytes / 1024 ** step < 10 ? 1 : 0)} ${units[step]}`;
}

function showSightings(sightings) {
  const panel = byId("sightings");
  panel.hidden = !sightings;
  if (!sightings) return;
  const put = (name, text) => { panel.querySelector(`.${name}`).textContent = text; };
  const sum = (counts) => Object.values(counts).reduce((one, other) => one + other, 0);
  const told = (counts) => {
    const why = Object.entries(counts).filter(([, count]) => count).map(([reason, count]) => `${reason} ${count}`);
    return why.length ? `${sum(counts)} (${why.join(", ")})` : "0";
  };
  panel.classList.toggle("bad", sightings.failing || sightings.state !== "running");
  put("why", sightings.sentence);
  put("stored", sightings.stored);
  put("undescribed", told(sightings.undescribed));
  put("refused", told(sightings.refused));
  put("waiting", sightings.waiting);
  put("size", size(sightings.size_bytes));
}

function arrange() {
  const only = byId("troubled").checked;
  const wanted = byId("search").value.trim().toLowerCase();
  const order = [...tiles.values()].sort((one, other) => other.troubled - one.troubled || one.id.localeCompare(other.id, undefined, { numeric: true }));
  const list = byId("tiles");
  order.forEach((tile, index) => {
    if (list.children[index] !== tile.root) list.insertBefore(tile.root, list.children[index] || null);
    tile.root.hidden = (only && !tile.troubled) || !tile.id.toLowerCase().includes(wanted);
  });
  const shown = order.filter((tile) => !tile.root.hidden).length;
  const empty = byId("empty");
  empty.hidden = shown > 0;
  empty.textContent = tiles.size === 0
    ? "This site has no cameras yet. Add some to its configuration; they appear here by themselves."
    : only && !wanted ? "No camera needs a look." : "No camera matches.";
}

function summarize() {
  const troubled = [...tiles.values()].filter((tile) => tile.troubled).length;
  const starting = [...tiles.values()].filter((tile) => tile.state === "connecting").length;
  const summary = byId("summary");
  const cameras = `${tiles.size} camera${tiles.size === 1 ? "" : "s"}`;
  if (tiles.size === 0) summary.textContent = "No cameras";
  else if (troubled) summary.textContent = `${troubled} of ${cameras} need${troubled === 1 ? "s" : ""} a look`;
  else summary.textContent = starting ? `${cameras}, ${starting} connecting` : `${cameras}, all live`;
  summary.className = troubled ? "bad" : tiles.size && !starting ? "good" : "";
  document.title = `${troubled ? `(${troubled}) ` : ""}${document.body.dataset.site} · watchline`;
}

function show(answer) {
  const ids = new Set(answer.cameras.map((camera) => camera.id));
  for (const [id, tile] of tiles) {
    if (ids.has(id)) continue;
    watcher.unobserve(tile.root);
    tile.root.remove();
    tiles.delete(id);
  }
  for (const camera of answer.cameras) {
    const known = tiles.get(camera.id);
    const tile = known || new Tile(camera.id);
    tile.show(camera);
    if (known) continue;
    tiles.set(camera.id, tile);
    watcher.observe(tile.root);
  }
  showDetectors(answer.detectors);
  showSightings(answer.sightings);
  arrange();
  summarize();
  showLive();
}

async function poll() {
  const contact = byId("contact");
  try {
    const answer = await fetch("api/cameras", { signal: AbortSignal.timeout(PATIENCE_MS) });
    if (answer.status === 401) {
      location.assign("login");
      return;
    }
    if (!answer.ok) throw new Error(`it answers ${answer.status}`);
    show(await answer.json());
    lastContact = new Date();
    contact.hidden = true;
  } catch (error) {
    contact.textContent = `No contact with watchline since ${lastContact.toLocaleTimeString()}: what stands below is old.`;
    contact.hidden = false;
    document.title = `(no contact) ${document.body.dataset.site} · watchline`;
    byId("live").classList.add("lost");
    byId("live").querySelector(".why").textContent = contact.textContent;
  }
  document.body.classList.toggle("lost", !contact.hidden);
  loadPictures();
  setTimeout(poll, POLL_MS);
}

function look(id) {
  const dialog = byId("live");
  dialog.dataset.camera = id;
  dialog.querySelector("h2").textContent = id;
  connect();
  dialog.showModal();
}

function connect() {
  const dialog = byId("live");
  const image = dialog.querySelector("img");
  // A new address each time: one that is set again to what it was is not asked for again.
  image.src = `cameras/${encodeURIComponent(dialog.dataset.camera)}/live.mjpg?at=${Date.now()}`;
  dialog.classList.remove("lost");
  dialog.querySelector(".why").textContent = "";
}

// What was seen last stays in the dialog when its camera fails: it must not pass for what is there now.
function showLive() {
  const dialog = byId("live");
  if (!dialog.open) return;
  const tile = tiles.get(dialog.dataset.camera);
  const wrong = tile ? tile.parts.why.textContent : "this camera was removed";
  if (wrong) {
    dialog.classList.add("lost");
    dialog.querySelector(".why").textContent = wrong;
  } else if (dialog.classList.contains("lost")) connect();
}

// A browser does not say when such a stream ends or stalls: it is begun anew now and then, and when someone is back.
function refreshLive() {
  if (byId("live").open && !document.hidden && !byId("live").classList.contains("lost")) connect();
}

byId("live").querySelector("img").addEventListener("error", () => {
  if (!byId("live").open) return;
  byId("live").classList.add("lost");
  byId("live").querySelector(".why").textContent = "the pictures stopped; they are asked for again";
});
byId("live").addEventListener("close", () => byId("live").querySelector("img").removeAttribute("src"));
byId("troubled").addEventListener("change", arrange);
byId("search").addEventListener("input", arrange);
document.addEventListener("visibilitychange", loadPictures);
document.addEventListener("visibilitychange", refreshLive);
setInterval(loadPictures, FRESH_MS / 4);
setInterval(refreshLive, LIVE_MS);
poll();
