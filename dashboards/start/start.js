// The start page: drop a ZIP, watch its build, open the site. It holds nothing that the API does not know.
"use strict";

const $ = (id) => document.getElementById(id);
const show = (id, shown = true) => ($(id).hidden = !shown);
/** Lines of a log kept on the page; older ones are left to `astrocloud logs`. */
const MAX_LINES = 5000;
/** Longest pause before a lost connection is tried again, milliseconds. */
const MAX_PAUSE = 10_000;

/** Calls the API; throws the problem's sentence (RFC 9457 `detail`). */
async function api(method, path, body) {
  const response = await fetch(`/api/v1${path}`, {
    method,
    headers: body === undefined ? {} : { "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (response.ok) return response.status === 204 ? null : response.json();
  const problem = await response.json().catch(() => ({}));
  const error = new Error(problem.detail ?? `The API answered ${response.status}.`);
  error.status = response.status;
  throw error;
}

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function link(url) {
  return element("a", { href: url, textContent: url, rel: "noopener" });
}

// --- the form

const invitation = [...$("chosen").childNodes];
/** Whether the project's name was typed; else it goes with the archive's. */
let typed = false;
/** Names of the projects that exist. */
let names = new Set();

function nearestName(file) {
  const name = file.replace(/\.zip$/i, "").toLowerCase();
  return name.replace(/[^a-z0-9]+/g, "-").replace(/^-+/, "").slice(0, 52).replace(/-+$/, "");
}

function size(bytes) {
  const mebibytes = bytes / 1048576;
  return mebibytes < 1 ? `${Math.ceil(bytes / 1024)} KiB` : `${mebibytes.toFixed(1)} MiB`;
}

function choose() {
  const file = $("archive").files[0];
  $("chosen").replaceChildren(...(file ? [`${file.name}, ${size(file.size)}`] : invitation));
  $("drop").classList.toggle("full", Boolean(file));
  $("problem").textContent = "";
  if (file && !typed) $("project").value = nearestName(file.name);
}

// The whole page takes the drop: beside the marked area a browser would leave the page and open the file.
addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("drop").classList.remove("over");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  if (event.dataTransfer.files.length === 0) return;
  $("archive").files = event.dataTransfer.files;
  choose();
});
$("archive").addEventListener("change", choose);
$("project").addEventListener("input", () => (typed = $("project").value !== ""));

/** Refuses what the platform would refuse after a long upload. */
async function check(file, mostBytes) {
  if (file.size > mostBytes) {
    throw new Error(`${file.name} is ${size(file.size)}; at most ${size(mostBytes)} are accepted. Leave out what is not source, such as node_modules.`);
  }
  const start = await file.slice(0, 2).text().catch(() => {
    throw new Error(`${file.name} can't be read. If it is a folder, pack it as a ZIP.`);
  });
  if (start !== "PK") throw new Error(`${file.name} is no ZIP archive. Pack the project's folder as a ZIP.`);
}

/** Sends the archive where its upload says; `fetch` can't tell how much is sent. */
function send(upload, file) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const url = new URL(upload.url);
    // The API may have other names than this page's; the object store's own is what was signed.
    request.open(upload.method, upload.direct ? upload.url : url.pathname + url.search);
    for (const [name, value] of Object.entries(upload.headers ?? {})) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => ($("sent").value = event.loaded / event.total);
    request.onload = () => {
      if (request.status < 300) return resolve();
      let detail = `The upload was answered with ${request.status}.`;
      try {
        detail = JSON.parse(request.responseText).detail ?? detail;
      } catch {
        // No problem document: the sentence above says all that is known.
      }
      reject(new Error(detail));
    };
    const refused = "The object store can't be reached from this page, or does not let it in: try again, and if it stays so, have the operator run `astrocloud setup`.";
    request.onerror = () => reject(new Error(upload.direct ? refused : "The upload broke off. Try again."));
    request.send(file);
  });
}

async function create(project) {
  try {
    await api("POST", "/projects", { name: project });
  } catch (error) {
    // Somebody else made it in the meantime: this is its next deployment.
    if (error.status !== 409) throw error;
  }
}

$("upload").addEventListener("submit", async (event) => {
  event.preventDefault();
  const file = $("archive").files[0];
  const project = $("project").value;
  $("problem").textContent = "";
  $("start").disabled = true;
  try {
    const upload = await api("POST", "/uploads");
    await check(file, upload.max_bytes);
    show("sent");
    await send(upload, file);
    if (!names.has(project)) await create(project);
    const source = { type: "upload", upload: upload.id, label: file.name };
    const deployment = await api("POST", `/projects/${project}/deployments`, { source });
    location.hash = deployment.id;
    show("progress");
    $("progress-title").focus();
    await list();
  } catch (error) {
    $("problem").textContent = error.message;
  } finally {
    $("start").disabled = false;
    // A disabled button loses the keyboard's focus.
    if ($("problem").textContent) $("start").focus();
    $("sent").value = 0;
    show("sent", false);
  }
});

// --- one deployment, named by the address's fragment

let following = null;

const WORDS = {
  queued: "Waiting",
  building: "Building",
  publishing: "Publishing",
  starting: "Starting",
  activating: "Becoming live",
  live: "Live",
  ready: "Ready, not live",
  failed: "Failed",
  canceled: "Canceled",
};

function tell(deployment) {
  const final = ["live", "ready", "failed", "canceled"].includes(deployment.status);
  const framework = deployment.framework ? ` (${deployment.framework})` : "";
  const reason = deployment.reason && deployment.status !== "canceled" ? `: ${deployment.reason.message}` : "";
  $("progress-title").textContent = `Deployment of ${deployment.project}`;
  $("state").className = deployment.status;
  $("state").textContent = `${WORDS[deployment.status] ?? deployment.status}${framework}${reason}`;
  const url = { live: deployment.url, ready: deployment.deployment_url }[deployment.status];
  $("link").replaceChildren(...(url ? [link(url)] : []));
  show("cancel", !final && deployment.status !== "activating");
  if (final) list();
}

function say(record) {
  const log = $("log");
  const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
  log.append(element("span", { className: record.stream, textContent: `${record.text}\n` }));
  while (log.childElementCount > MAX_LINES) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

/** History, then live lines; after a lost connection it goes on behind the last line. */
function follow(id) {
  following?.close();
  for (const part of ["log", "link", "state"]) $(part).replaceChildren();
  show("cancel", false);
  show("progress");
  let after = 0;
  let pause = 250;
  let ended = false;
  let socket;
  const connect = () => {
    socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/api/v1/deployments/${id}/logs?after=${after}`);
    socket.onmessage = ({ data }) => {
      pause = 250;
      const message = JSON.parse(data);
      if (message.type === "deployment") tell(message.deployment);
      if (message.type === "end") ended = true;
      for (const record of message.records ?? []) {
        after = record.seq;
        say(record);
      }
    };
    socket.onclose = async () => {
      if (ended) return;
      $("state").className = "";
      $("state").textContent = "The connection was lost; trying again.";
      // A refused WebSocket does not say why; the same question over HTTP does.
      const refusal = await api("GET", `/deployments/${id}`).then(() => null, (error) => error);
      if (ended) return;
      if (refusal?.status < 500) {
        ended = true;
        $("state").className = "failed";
        $("state").textContent = refusal.message;
        return;
      }
      setTimeout(() => ended || connect(), pause);
      pause = Math.min(pause * 2, MAX_PAUSE);
    };
  };
  following = {
    close() {
      ended = true;
      socket.close();
    },
  };
  connect();
}

$("cancel").addEventListener("click", async () => {
  try {
    await api("POST", `/deployments/${location.hash.slice(1)}/cancel`);
  } catch (error) {
    $("problem").textContent = error.message;
  }
});

function openFragment() {
  const id = location.hash.slice(1);
  if (/^dpl_[0-9a-z]{26}$/.test(id)) follow(id);
}
addEventListener("hashchange", openFragment);

// --- projects

async function list() {
  const projects = [];
  let cursor = "";
  do {
    const page = await api("GET", `/projects?cursor=${encodeURIComponent(cursor)}`);
    projects.push(...page.items);
    cursor = page.next_cursor ?? "";
  } while (cursor);
  names = new Set(projects.map((project) => project.name));
  $("list").replaceChildren(
    ...projects.map((project) => {
      const site = project.live_deployment ? link(project.url) : "not live yet";
      return element("li", {}, element("strong", { textContent: project.name }), site);
    }),
  );
  show("none", projects.length === 0);
}

(async () => {
  try {
    await list();
    for (const id of ["logout", "deploy", "projects"]) show(id);
    openFragment();
  } catch (error) {
    if (error.status === 401) return show("locked");
    show("deploy");
    $("problem").textContent = error.message;
  }
})();
