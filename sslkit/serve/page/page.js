// Sends photographs one after another, and shows the answers. Whatever a file or a class is called is set as text.
"use strict";

const main = document.querySelector("main");
const [input, status, answer, visit] = ["file", "status", "answer", "visit"].map((id) => document.getElementById(id));
const mostBytes = Number(main.dataset.mostBytes);
const classes = JSON.parse(main.dataset.classes); // in their order: an object of answers begins with names like "10"
const seen = []; // of this visit: {name, reply} or {name, error}
const waiting = [];
let busy = false;
let shown = null;
let opacity = 70;

function element(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

const percent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

function say(text, isBusy = false) {
  status.textContent = text;
  status.classList.toggle("busy", isBusy);
}

function add(files) {
  waiting.push(...files);
  if (!busy) work();
}

async function work() {
  busy = true;
  while (waiting.length > 0) {
    const file = waiting.shift();
    const more = waiting.length > 0 ? ` (${waiting.length} more waiting)` : "";
    say(`Grading ${file.name}${more} …`, true);
    const entry = { name: file.name, ...(await grade(file)) };
    seen.push(entry);
    show(entry);
    say(entry.error ? `${entry.name}: ${entry.error}` : sentence(entry));
  }
  busy = false;
}

async function grade(file) {
  if (file.size > mostBytes) {
    return { error: `The photograph is too large: up to ${mostBytes / 1e6} MB are accepted.` };
  }
  try {
    // The bytes alone: the name of the file stays in this page.
    const body = new Blob([file], { type: "application/octet-stream" });
    const response = await fetch("/api/grade?cam=1", { method: "POST", body });
    if (response.status === 401) location.assign("/sign-in");
    const reply = await response.json();
    return response.ok ? { reply } : { error: reply.error };
  } catch {
    return { error: "The server did not answer; is it still running?" };
  }
}

function sentence({ name, reply }) {
  const share = percent(reply.probabilities[reply.grade_name]);
  return `${name}: grade ${reply.grade}, ${reply.grade_name} (${share})${referableWords(reply, ", ")}.`;
}

function referableWords(reply, before = "") {
  if (!reply.referable || reply.referable.answer === null) return "";
  return `${before}${reply.referable.answer ? "" : "not "}${reply.referable.name}`;
}

function show(entry) {
  shown = entry;
  main.classList.add("small");
  answer.hidden = false;
  answer.replaceChildren(entry.error ? failure(entry) : success(entry));
  list();
}

function failure({ name, error }) {
  return element(
    "div", {},
    element("p", { class: "file-name" }, name),
    element("h2", {}, "No answer"),
    element("p", { class: "banner alarm" }, error),
  );
}

function success({ name, reply }) {
  const left = element(
    "div", {},
    element("p", { class: "file-name" }, name),
    element("h2", {}, reply.grade_name),
    element("p", { class: "of" }, `Grade ${reply.grade} of 0 to ${classes.length - 1}`),
    referable(reply.referable),
    bars(reply),
    isMostProbable(reply) ? null : element("p", { class: "note bars-note" },
      "The models decide by more than the largest probability: the grade given need not be the most probable one."),
    element("p", { class: "by" }, `Graded in ${reply.seconds.toFixed(2)} s by ${reply.run}: ${reply.models}.`
      + (reply.kept ? ` Kept on the server as ${reply.kept.slice(0, 12)}….` : "")),
  );
  return element("div", { class: "answer" }, left, pictures(reply));
}

function referable(found) {
  if (!found) return null;
  const share = percent(found.probability);
  if (found.answer === null) {
    return element("p", { class: "referable" }, element("strong", {}, `Probability of ${found.name}: ${share}`),
      element("span", {}, "No threshold was fitted."));
  }
  return element(
    "p", { class: found.answer ? "referable yes" : "referable" },
    element("strong", {}, `${found.answer ? "" : "not "}${found.name}`),
    element("span", {}, `probability ${share}, threshold ${percent(found.threshold)}`),
  );
}

function bars(reply) {
  const rows = classes.map((name) => {
    const share = reply.probabilities[name];
    const bar = element("span", {});
    bar.style.width = `${100 * share}%`;
    const given = name === reply.grade_name;
    return element(
      "tr", { class: given ? "given" : null },
      element("th", { scope: "row" }, name, given ? element("span", { class: "given-mark" }, "grade given") : null),
      element("td", { class: "bar" }, element("div", {}, bar)),
      element("td", {}, percent(share)),
    );
  });
  const head = element("thead", { class: "hidden-text" }, element("tr", {},
    ...["Grade", "Bar", "Probability"].map((text) => element("th", { scope: "col" }, text))));
  return element("table", { class: "bars" }, element("caption", {}, "Probability of each grade"),
    head, element("tbody", {}, ...rows));
}

function isMostProbable({ probabilities, grade_name: given }) {
  return Object.values(probabilities).every((share) => share <= probabilities[given]);
}

function pictures(reply) {
  const { prepared, overlay } = reply.pictures;
  const box = element("div", { class: "pictures" });
  if (!prepared) return box;
  box.append(element("figure", {},
    element("figcaption", {}, "What the models saw"),
    element("img", { src: prepared, alt: "The photograph, cropped and scaled" })));
  if (!overlay) {
    box.append(element("p", { class: "note" }, reply.why_no_heat || "There is no heat map for these models."));
    return box;
  }
  const heat = element("img", { src: overlay, alt: "" });
  heat.style.opacity = opacity / 100;
  const output = element("output", { for: "opacity" }, `${opacity} %`);
  const slider = element("input", { id: "opacity", type: "range", min: 0, max: 100, step: 5, value: opacity });
  slider.addEventListener("input", () => {
    opacity = Number(slider.value);
    heat.style.opacity = opacity / 100;
    output.textContent = `${opacity} %`;
  });
  box.append(
    element("figure", {},
      element("figcaption", {}, "Evidence (Grad-CAM)"),
      element("div", { class: "stack" },
        element("img", { src: prepared, alt: `Heat map (Grad-CAM) of the evidence for ${reply.grade_name}` }), heat)),
    element("div", { class: "slider" }, element("label", { for: "opacity" }, "Heat"), slider, output),
    element("p", { class: "note" },
      "Grad-CAM: brighter is more evidence for the grade given. It shows where the models looked, not why, "
      + "and a wrong answer can have a convincing map."),
  );
  return box;
}

function list() {
  visit.hidden = false;
  const clear = element("button", { type: "button", class: "quiet-button" }, "Clear");
  clear.addEventListener("click", forget);
  const items = seen.map((entry) => {
    const { name, reply, error } = entry;
    const button = element(
      "button", { type: "button", "aria-current": entry === shown ? "true" : null },
      error || !reply.pictures.prepared
        ? element("span", { class: "no-picture", "aria-hidden": "true" }, "!")
        : element("img", { src: reply.pictures.prepared, alt: "" }),
      element("span", { class: "text" },
        element("b", {}, error ? "No answer" : reply.grade_name + referableWords(reply, ", ")),
        element("span", { title: name }, name)),
    );
    button.addEventListener("click", () => {
      show(entry);
      answer.focus({ preventScroll: true });
      answer.scrollIntoView();
    });
    return element("li", {}, button);
  });
  visit.replaceChildren(
    element("div", { class: "visit-head" }, element("h2", {}, `This visit: ${seen.length}`), clear),
    element("ol", { class: "visit", reversed: "" }, ...items.reverse()),
  );
}

function forget() {
  seen.length = 0;
  shown = null;
  answer.hidden = visit.hidden = true;
  answer.replaceChildren();
  visit.replaceChildren();
  main.classList.remove("small");
  say("Cleared.");
  input.focus();
}

input.addEventListener("change", () => {
  add([...input.files]);
  input.value = ""; // so that the same file may be chosen again
});

let depth = 0; // of elements that a dragged file is over
addEventListener("dragenter", (event) => {
  event.preventDefault();
  depth += 1;
  document.body.classList.add("dragging");
});
addEventListener("dragleave", () => {
  depth = Math.max(0, depth - 1);
  if (depth === 0) document.body.classList.remove("dragging");
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  document.body.classList.remove("dragging");
  add([...event.dataTransfer.files]);
});
addEventListener("paste", (event) => add([...event.clipboardData.files]));

if (input.files.length > 0) input.dispatchEvent(new Event("change")); // chosen before this script had come
