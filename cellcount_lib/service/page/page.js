// The page of the service: sign in, upload, count, look at the results. The browser keeps nothing
// of it but the cookie of the session, which no script can read.
"use strict";

const SHOWN = ["image", "plane", "count", "cell_px", "model", "check", "error"]; // of counts.csv
const LOOK = 1000; // milliseconds between two looks at jobs that are not done

const $ = (id) => document.getElementById(id);
let csrf = null; // what has to be said with the cookie to change something
let open = null; // the job whose results are shown
let timer = 0;

async function ask(method, path, body) {
  const headers = csrf ? { "X-CSRF-Token": csrf } : {};
  const file = body instanceof Blob;
  if (body && !file) headers["Content-Type"] = "application/json";
  const answer = await fetch(`api/${path}`, { method, headers, body: file ? body : JSON.stringify(body) });
  if (!answer.ok) {
    const { detail } = await answer.json().catch(() => ({ detail: answer.statusText }));
    const said = new Error(typeof detail === "string" ? detail : detail[0].msg);
    said.status = answer.status;
    throw said;
  }
  if (answer.status === 204) return null;
  return answer.headers.get("Content-Type").includes("json") ? answer.json() : answer.text();
}

function say(text, failed = false) {
  $("said").textContent = text;
  $("said").classList.toggle("failed", failed);
}

// Do something for the reader; what goes wrong is said, and who has no session any more signs in.
async function attempt(what) {
  try {
    await what();
  } catch (error) {
    if (error.status === 401 && csrf) shut();
    say(`It did not work: ${error.message}`, true);
  }
}

const on = (id, event, what) =>
  $(id).addEventListener(event, (happened) => {
    happened.preventDefault();
    attempt(() => what(happened.target));
  });

function shut() {
  clearTimeout(timer);
  csrf = open = null;
  $("who").hidden = $("work").hidden = $("results").hidden = true;
  $("door").hidden = false;
  say("");
}

async function enter() {
  const me = await ask("GET", "me");
  csrf = me.csrf;
  $("door").hidden = true;
  $("who").hidden = $("work").hidden = false;
  $("who").firstElementChild.textContent = `${me.name} (${me.role})`;
  for (const part of document.querySelectorAll(".annotator")) part.hidden = me.role === "viewer";
  $("count").elements.model.replaceChildren(...(await ask("GET", "models")).map((name) => choice(name)));
  say("");
  await projects();
}

const choice = (text, value = text) => new Option(text, value);

async function projects(chosen) {
  const found = await ask("GET", "projects");
  $("project").replaceChildren(...found.map((one) => choice(one.name, one.id)));
  if (chosen) $("project").value = chosen;
  await project();
}

async function project() {
  const number = $("project").value;
  $("results").hidden = true;
  open = null;
  $("files").disabled = !number;
  $("count").querySelector("button").disabled = !number;
  $("pictures").textContent = number ? "" : "Make a project first.";
  if (!number) return;
  const names = (await ask("GET", `projects/${number}/pictures`)).map((one) => one.name);
  const more = names.length > 10 ? ", ..." : "";
  $("pictures").textContent = `${names.length} pictures: ${names.slice(0, 10).join(", ")}${more}`;
  await jobs();
}

async function upload(input) {
  const number = $("project").value;
  const refused = [];
  for (const [place, file] of [...input.files].entries()) {
    say(`Uploading ${place + 1} of ${input.files.length}: ${file.name}`);
    await ask("PUT", `projects/${number}/pictures/${encodeURIComponent(file.name)}`, file).catch(
      (error) => refused.push(error.message),
    );
  }
  say(refused.length ? `Not uploaded: ${refused.join("; ")}` : "Uploaded.", refused.length > 0);
  input.value = "";
  await project();
}

function row(cells, kind = "td") {
  const made = document.createElement("tr");
  for (const cell of cells) {
    const one = document.createElement(kind);
    one.append(cell ?? "");
    made.append(one);
  }
  return made;
}

function button(text, what) {
  const made = document.createElement("button");
  made.textContent = text;
  made.addEventListener("click", () => attempt(what));
  return made;
}

async function jobs() {
  clearTimeout(timer);
  const found = await ask("GET", `jobs?project=${$("project").value}`);
  const waits = (job) => ["queued", "running"].includes(job.state);
  const rows = found.map((job) => {
    const name = job.kind === "train" ? `${job.id} (training)` : String(job.id);
    const does = [];
    if (job.kind === "count" && job.state === "done") does.push(button(`Results of ${job.id}`, () => results(job)));
    if (waits(job) && !$("files").closest("label").hidden) does.push(button(`Cancel ${job.id}`, () => cancel(job)));
    const state = job.error ? `${job.state}: ${job.error}` : job.state;
    return row([name, does[0], state, `${job.done} of ${job.total}`, job.cells, job.to_check]);
  });
  // a button that somebody is about to press stays the same one while nothing changes
  const text = JSON.stringify(found);
  if ($("jobs").dataset.text !== text) $("jobs").tBodies[0].replaceChildren(...rows);
  $("jobs").dataset.text = text;
  if (found.some(waits)) timer = setTimeout(() => attempt(jobs), LOOK);
}

async function cancel(job) {
  await ask("DELETE", `jobs/${job.id}`);
  await jobs();
}

// The rows of a CSV file (RFC 4180).
function table(text) {
  const rows = [[]];
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/g)) {
    rows.at(-1).push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (end !== ",") rows.push([]);
  }
  return rows.filter((cells) => cells.length > 1);
}

async function results(job) {
  const at = `jobs/${job.id}/files`;
  const files = await ask("GET", at);
  const [names, ...rows] = table(await ask("GET", `${at}/counts.csv`));
  const places = SHOWN.map((name) => names.indexOf(name)).filter(
    (place) => rows.some((cells) => cells[place] !== ""),
  );
  const picked = (cells) => places.map((place) => cells[place]);
  open = job.id;
  $("results").querySelector("h2").textContent = `Results of job ${job.id}: ${job.cells} cells`;
  $("links").replaceChildren(
    ...files.filter((name) => !name.includes("/")).flatMap((name) => {
      const link = Object.assign(document.createElement("a"), { href: `api/${at}/${name}`, textContent: name });
      return [link, " "];
    }),
  );
  $("counts").tHead.replaceChildren(row(picked(names), "th"));
  $("counts").tBodies[0].replaceChildren(...rows.map((cells) => row(picked(cells))));
  const drawn = files.filter((name) => name.startsWith("overlays/")).map((name) => name.slice(9));
  $("overlay").replaceChildren(...drawn.map((name) => choice(name)));
  $("results").hidden = false;
  draw();
}

function draw() {
  const name = $("overlay").value;
  $("drawn").hidden = !name;
  $("drawn").alt = `${name} with the outlines of the cells that were counted`;
  $("drawn").src = `api/jobs/${open}/files/overlays/${encodeURIComponent(name)}`;
}

on("door", "submit", async (form) => {
  const given = Object.fromEntries(new FormData(form));
  if (given.token) {
    await ask("POST", "setup", given);
    first("");
  }
  const { csrf: said } = await ask("POST", "login", { name: given.name, password: given.password });
  csrf = said;
  form.reset();
  await enter();
});

on("leave", "click", async () => {
  await ask("POST", "logout");
  shut();
});
on("project", "change", project);
on("found", "submit", async (form) => {
  const made = await ask("POST", "projects", { name: form.elements.name.value });
  form.reset();
  await projects(made.id);
});
on("files", "change", upload);
on("count", "submit", async (form) => {
  const width = form.elements.cell_px.value;
  const given = { model: form.elements.model.value, cell_px: width ? Number(width) : null };
  await ask("POST", `projects/${$("project").value}/jobs`, given);
  await jobs();
});
on("overlay", "change", draw);

// The first start prints an address that ends in #first=TOKEN, which makes the first admin.
function first(token) {
  const { token: field } = $("door").elements;
  $("first").hidden = field.disabled = !token;
  field.value = token;
  if (!token) history.replaceState(null, "", location.pathname);
}
first(location.hash.startsWith("#first=") ? location.hash.slice(7) : "");
enter().catch((error) => (error.status === 401 ? shut() : say(error.message, true)));
