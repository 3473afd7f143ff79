// SPDX-License-Identifier: Apache-2.0
// The page at work: asks the management API for what is pressed, keeps what is shown up to date, and says both.

const byId = (id) => document.getElementById(id);
// Milliseconds between two looks, at least; and between two sentences for who listens instead of looking.
const REST = 1000;
const SAY_EVERY = 10000;
const SESSION_ENDED = "Your session has ended: log in again.";

// -- saying ----------------------------------------------------------------------------------------------------------

/** Say what went wrong: in the form it belongs to, or above the page. What was typed stays. */
export function tell(problem, form) {
  const own = form?.querySelector(".problem");
  if (own) {
    own.textContent = problem;
    if (problem) own.scrollIntoView({ block: "nearest" });
    return;
  }
  const box = byId("alert");
  box.replaceChildren();
  if (!problem) return;
  const close = document.createElement("button");
  close.className = "plain";
  close.textContent = "Close";
  close.addEventListener("click", () => box.replaceChildren());
  const text = document.createElement("span");
  text.textContent = problem;
  box.append(text, close);
}

export function say(sentence) {
  byId("said").textContent = sentence;
}

let forget = 0;

/** Say for a while what has been done; empty: nothing is said any more. */
function report(sentence) {
  clearTimeout(forget);
  byId("done").textContent = sentence;
  if (sentence) forget = setTimeout(() => report(""), SAY_EVERY);
}

/** Whether the person means it. */
function confirmed(button) {
  const dialog = byId("ask");
  byId("ask-text").textContent = button.dataset.ask;
  byId("ask-yes").textContent = button.dataset.yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

// -- the API ---------------------------------------------------------------------------------------------------------

/** The sentence in a refusal of the API. */
export function sentence(status, text) {
  if (status === 401) return SESSION_ENDED;
  try {
    return JSON.parse(text).error;
  } catch {
    return `The server answered with status ${status}.`;
  }
}

/** Ask the API; throws an Error with one sentence. */
export async function call(method, path, body) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  let answer;
  try {
    answer = await fetch(path, { method, headers, body });
  } catch {
    throw new Error("The server cannot be reached: try again when the connection is back.");
  }
  if (!answer.ok) throw new Error(sentence(answer.status, await answer.text()));
  return answer;
}

/** Do something once at a time, and say how it went. */
export async function attempt(button, form, what) {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  tell("", form);
  report("");
  try {
    await what();
  } catch (problem) {
    if (problem.message === SESSION_ENDED) leave();
    else tell(problem.message, form);
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

async function done(element) {
  if (element.dataset.go) {
    location.assign(element.dataset.go);
    return;
  }
  await refresh(null);
  if (element.dataset.done) report(element.dataset.done);
}

async function press(button) {
  const { call: method, path, body, ask, again } = button.dataset;
  if (ask && !(await confirmed(button))) return;
  await attempt(button, null, async () => {
    let answer = await call(method, path, body);
    // What is done in parts is asked for until nothing is left of it.
    while (again && (await answer.json())[again].length) answer = await call(method, path, body);
    await done(button);
  });
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-call]");
  if (button) press(button);
});

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-call]");
  if (!form) return;
  event.preventDefault();
  const body = JSON.stringify(Object.fromEntries(new FormData(form)));
  attempt(event.submitter ?? form.querySelector("button"), form, async () => {
    await call(form.dataset.call, form.dataset.path, body);
    await done(form);
  });
});

// -- what the server's HTML cannot know ------------------------------------------------------------------------------

const near = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

function enhance(root) {
  for (const time of root.querySelectorAll("time")) {
    time.title = time.textContent;
    time.textContent = ("exact" in time.dataset ? exact : near).format(new Date(time.dateTime));
  }
  for (const table of root.querySelectorAll("table")) enhanceTable(table);
}

/** Rows that are laid out as cards would be no rows any more to who listens; and each cell needs its name. */
function enhanceTable(table) {
  const names = [...table.querySelectorAll("th")].map((one) => one.textContent);
  table.setAttribute("role", "table");
  table.querySelectorAll("thead, tbody").forEach((one) => one.setAttribute("role", "rowgroup"));
  table.querySelectorAll("th").forEach((one) => one.setAttribute("role", "columnheader"));
  for (const row of table.rows) {
    row.setAttribute("role", "row");
    row.querySelectorAll("td").forEach((cell, index) => {
      cell.setAttribute("role", "cell");
      cell.dataset.label = names[index];
      if (cell.textContent.trim() === "–") cell.dataset.empty = "";
    });
  }
}

// -- staying up to date ----------------------------------------------------------------------------------------------

/** Make one element like another by changing only what differs, so that focus and scroll stay where they are. */
function become(old, next) {
  for (const { name } of [...old.attributes]) {
    if (!next.hasAttribute(name) && !(name === "open" || name === "aria-disabled")) old.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const wanted = new Set([...next.children].map((one) => one.id).filter(Boolean));
  for (const child of [...old.children]) if (child.id && !wanted.has(child.id)) child.remove();
  let place = old.firstChild;
  for (const child of [...next.childNodes]) {
    const known = child.id ? [...old.children].find((one) => one.id === child.id) : null;
    const mine = known ?? (place && !place.id && !child.id && place.nodeName === child.nodeName ? place : null);
    if (!mine) {
      old.insertBefore(document.importNode(child, true), place);
      continue;
    }
    if (mine === place) place = place.nextSibling;
    else old.insertBefore(mine, place);
    if (mine.nodeType === Node.ELEMENT_NODE) become(mine, child);
    else if (mine.nodeValue !== child.nodeValue) mine.nodeValue = child.nodeValue;
  }
  while (place) {
    const after = place.nextSibling;
    place.remove();
    place = after;
  }
}

function regions(topics) {
  const all = [...document.querySelectorAll("[data-live]")];
  return topics ? all.filter((one) => one.dataset.live.split(" ").some((topic) => topics.has(topic))) : all;
}

// How new what is shown is: the number of changes of each topic before the page looked.
const revisions = JSON.parse(document.body.dataset.revisions);

function note(newer, topics) {
  for (const topic of topics ?? Object.keys(newer)) revisions[topic] = newer[topic];
}

/** Look again at the regions that show one of these topics, or at all. */
async function refresh(topics) {
  const wanted = regions(topics);
  if (!wanted.length) return;
  const answer = await fetch(location.href, { cache: "no-store" });
  if (new URL(answer.url).pathname === "/ui/login") throw new Error(SESSION_ENDED);
  const next = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (!answer.ok) throw new Error(next.querySelector("main p")?.textContent ?? `Status ${answer.status}.`);
  enhance(next);
  note(JSON.parse(next.body.dataset.revisions), topics);
  const focused = document.activeElement?.id;
  for (const region of wanted) {
    const fresh = next.getElementById(region.id);
    if (fresh) become(region, fresh);
  }
  if (focused && document.activeElement === document.body) byId(focused)?.focus({ preventScroll: true });
  sayProgress();
}

let said = "";
let sayLater = 0;

/** Progress for who listens: the latest sentence, and not every one of them. */
function sayProgress() {
  const now = document.querySelector("[data-say]")?.textContent ?? "";
  if (now === said || sayLater) return;
  said = now;
  say(now);
  sayLater = setTimeout(() => {
    sayLater = 0;
    sayProgress();
  }, SAY_EVERY);
}

const changed = new Set();
let looking = false;

/** One look at a time, and a rest after each that grows with what it costs the server. */
async function look() {
  if (looking) return;
  looking = true;
  while (changed.size && !document.hidden) {
    const topics = new Set(changed);
    changed.clear();
    const began = performance.now();
    try {
      await refresh(topics);
    } catch (problem) {
      if (problem.message === SESSION_ENDED) leave();
      else if (!(problem instanceof TypeError)) lost(problem.message);
    }
    await new Promise((resolve) => setTimeout(resolve, Math.max(REST, 3 * (performance.now() - began))));
  }
  looking = false;
}

function lost(sentence) {
  if (byId("line").textContent !== sentence) byId("line").textContent = sentence;
}

let source = null;
let retry = 0;

function leave() {
  source?.close();
  source = null;
  const link = document.createElement("a");
  link.href = `/ui/login?${new URLSearchParams({ next: location.pathname + location.search })}`;
  link.textContent = "Log in again";
  byId("line").replaceChildren("Your session has ended. ", link);
}

function listen() {
  clearTimeout(retry);
  source?.close();
  source = new EventSource("/ui/events");
  source.addEventListener("now", (event) => {
    document.body.dataset.line = "open";
    lost("");
    // What happened while nobody listened.
    for (const [topic, number] of Object.entries(JSON.parse(event.data).revisions)) {
      if (number > (revisions[topic] ?? 0)) changed.add(topic);
    }
    look();
  });
  source.addEventListener("change", (event) => {
    JSON.parse(event.data).topics.forEach((topic) => changed.add(topic));
    look();
  });
  source.addEventListener("error", () => {
    document.body.dataset.line = "lost";
    lost("The connection is lost: what you see may be old.");
    if (source?.readyState === EventSource.CLOSED) retry = setTimeout(again, 5000);
  });
}

/** The server has refused to be listened to: it may be busy, or the session has ended. */
async function again() {
  try {
    await refresh(null);
  } catch (problem) {
    if (problem.message === SESSION_ENDED) {
      leave();
      return;
    }
  }
  listen();
}

enhance(document);
said = document.querySelector("[data-say]")?.textContent ?? "";
if ("visitor" in document.body.dataset && regions(null).length) {
  listen();
  // A browser holds few connections to one server: a page that nobody looks at must not keep one.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      source?.close();
      clearTimeout(retry);
      document.body.dataset.line = "lost";
    } else if (source) {
      listen();
    }
  });
}
