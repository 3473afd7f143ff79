// SPDX-License-Identifier: Apache-2.0
// The two large forms: an upload with its progress, and the order of a deployment.

import { attempt, call, say, sentence, tell } from "./page.js";

const byId = (id) => document.getElementById(id);
const lastOf = (location) => location.slice(location.lastIndexOf("/") + 1);

// -- the upload ------------------------------------------------------------------------------------------------------

function inUnits(bytes) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; bytes >= 999.5 && unit < units.length - 1; unit += 1) bytes /= 1000;
  return `${Number(bytes.toPrecision(3))} ${units[unit]}`;
}

/** Send a file; resolves with the new artifact's id. */
function send(file, description, stop, onProgress) {
  return new Promise((resolve, reject) => {
    const body = new FormData();
    body.append("description", description);
    body.append("artifact", file);
    const request = new XMLHttpRequest();
    request.open("POST", "/api/management/v1/deployments/artifacts");
    request.upload.addEventListener("progress", (event) => onProgress(event.loaded, event.total));
    request.addEventListener("load", () => {
      if (request.status === 201) resolve(lastOf(request.getResponseHeader("Location")));
      else reject(new Error(sentence(request.status, request.responseText)));
    });
    request.addEventListener("error", () => reject(new Error("The connection broke while uploading: try again.")));
    request.addEventListener("abort", () => reject(new Error("The upload was cancelled.")));
    stop.addEventListener("click", () => request.abort(), { once: true });
    request.send(body);
  });
}

function showProgress(file, loaded, total) {
  const percent = total ? Math.floor((loaded * 100) / total) : 0;
  byId("sent").value = percent;
  byId("sent-text").textContent =
    loaded < total
      ? `${file.name}: ${percent} % of ${inUnits(total)}`
      : `${file.name}: ${inUnits(total)} have arrived, the server checks them`;
}

function prepareUpload(form) {
  const [field, stop] = [byId("file"), byId("stop")];
  let sending = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const file = field.files[0];
    attempt(byId("send"), form, async () => {
      sending = true;
      byId("sending").hidden = stop.hidden = false;
      showProgress(file, 0, file.size);
      say(`Uploading ${file.name}.`);
      try {
        const id = await send(file, byId("description").value, stop, (...far) => showProgress(file, ...far));
        sending = false;
        location.assign(`/ui/artifacts/${id}`);
      } finally {
        sending = false;
        byId("sending").hidden = stop.hidden = true;
      }
    });
  });
  window.addEventListener("beforeunload", (event) => {
    if (sending) event.preventDefault();
  });
  form.addEventListener("dragover", (event) => {
    event.preventDefault();
    form.classList.add("over");
  });
  for (const kind of ["dragleave", "drop"]) form.addEventListener(kind, () => form.classList.remove("over"));
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length === 1) {
      field.files = event.dataTransfer.files;
      tell("", form);
      byId("description").focus();
    } else {
      tell("Drop one file.", form);
    }
  });
}

// -- the order -------------------------------------------------------------------------------------------------------

const UNTIL_ME = "me";

function addPhase() {
  const phase = byId("phase").content.cloneNode(true).firstElementChild;
  const number = Date.now() + Math.random();
  phase.querySelectorAll("div > label").forEach((label, index) => {
    const field = label.parentElement.querySelector("input, select");
    field.id = `phase-${number}-${index}`;
    label.htmlFor = field.id;
  });
  const then = phase.querySelector('[data-field="then"]');
  then.addEventListener("change", () => {
    phase.querySelector('[data-field="delay"]').hidden = then.value === UNTIL_ME;
  });
  phase.querySelector("[data-remove]").addEventListener("click", () => {
    phase.remove();
    byId("add-phase").focus();
  });
  byId("phase-rows").append(phase);
  phase.querySelector("input").focus();
}

/** The phases as the API words them: that somebody waits is said of the phase that comes after. */
function phases() {
  const read = (row) => (name) => row.querySelector(`[data-field="${name}"]`).value;
  const rows = [...byId("phase-rows").children].map(read);
  if (!rows.length) return {};
  const waits = (index) => index >= 0 && rows[index]("then") === UNTIL_ME;
  const worded = rows.map((row, index) => ({
    [row("unit") === "percent" ? "batch_size" : "device_count"]: Number(row("size")),
    pause: waits(index - 1),
    ...(waits(index) ? {} : { delay: Number(row("delay")), delayUnit: row("then") }),
  }));
  return { phases: [...worded, { pause: waits(rows.length - 1) }] };
}

function target(fields) {
  switch (fields.get("to")) {
    case "group":
      return { group: fields.get("group") };
    case "filter": {
      const most = fields.get("max_devices");
      return { filter_id: fields.get("filter_id"), ...(most ? { max_devices: Number(most) } : {}) };
    }
    case "devices": {
      const ids = fields.get("devices").split(/[\s,]+/).filter(Boolean);
      if (!ids.length) throw new Error("Name at least one device.");
      return { devices: ids };
    }
    default:
      return { all_devices: true };
  }
}

function order(form) {
  const fields = new FormData(form);
  const limit = fields.get("limit");
  return {
    name: fields.get("name").trim() || fields.get("artifact_name"),
    artifact_name: fields.get("artifact_name"),
    ...target(fields),
    ...phases(),
    retries: Number(fields.get("retries")),
    ...(limit ? { failure_limit: { [fields.get("limit_unit")]: Number(limit) } } : {}),
    force_installation: fields.has("force"),
  };
}

function prepareOrder(form) {
  const showTarget = () => {
    const chosen = form.querySelector('[name="to"]:checked').value;
    for (const one of form.querySelectorAll("[data-only]")) one.hidden = one.dataset.only !== chosen;
  };
  form.addEventListener("change", showTarget);
  showTarget();
  byId("add-phase").addEventListener("click", addPhase);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(event.submitter ?? form.querySelector("button:not([type])"), form, async () => {
      const made = await call("POST", "/api/management/v1/deployments/deployments", JSON.stringify(order(form)));
      location.assign(`/ui/deployments/${lastOf(made.headers.get("Location"))}`);
    });
  });
}

function openStart() {
  const start = byId("start");
  if (start && location.hash === "#start") start.open = true;
}

if (byId("upload")) prepareUpload(byId("upload"));
if (byId("order")) prepareOrder(byId("order"));
window.addEventListener("hashchange", openStart);
openStart();
