// Blind review: shows an image, records what it shows, and only then shows the predictions.

import { showSignIn } from "./sign_in.js";

const PAGE_SIZE = 20; // images per request
const ANSWER_TEXTS = { other: "Something else", cannot_tell: "Cannot tell" };
const ACTOR_KEY = "serve-app reviewer"; // in localStorage
const find = (id) => document.getElementById(id);

let queue = [];
let waiting = 0;
let reviewed = 0; // on this page
const skipped = new Set(); // ids
let current = null; // the image on the page, until its review

class HttpError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function request(path, options) {
  const response = await fetch(path, options);
  if (!response.ok) throw new HttpError(response.status, (await response.json()).detail);
  return response;
}

async function requestJson(path, body) {
  const options = body && {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  return (await request(path, options)).json();
}

function createElement(tag, text, className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = className;
  return element;
}

function show(part) {
  for (const id of ["sign-in", "no-images", "card"]) find(id).hidden = id !== part;
  find("reviewer").hidden = part === "sign-in";
}

function showWaiting() {
  const images = waiting === 1 ? "1 image waits" : `${waiting} images wait`;
  const counts = [
    `${images} for review`,
    reviewed && `${reviewed} reviewed on this page`,
    skipped.size && `${skipped.size} skipped`,
  ];
  find("waiting").textContent = counts.filter(Boolean).join(", ");
}

function answerButton(answer, number) {
  const button = createElement("button", ANSWER_TEXTS[answer] ?? answer);
  button.type = "button";
  button.disabled = true; // until the image is loaded
  button.dataset.answer = answer;
  button.setAttribute("aria-pressed", "false");
  if (number < 10) {
    button.setAttribute("aria-keyshortcuts", number);
    const key = createElement("kbd", number);
    key.setAttribute("aria-hidden", "true");
    button.append(key);
  }
  button.addEventListener("click", () => showErrors(() => submit(answer)));
  return button;
}

const answerButtons = () => [...find("answers").children];

function setEnabled(enabled) {
  for (const button of answerButtons()) button.disabled = !enabled;
}

async function showNext() {
  find("error").textContent = "";
  if (!queue.length) {
    const page = await requestJson(`reviews?limit=${PAGE_SIZE + skipped.size}`);
    queue = page.images.filter(({ id }) => !skipped.has(id));
    waiting = page.waiting;
  }
  current = queue.shift() ?? null;
  showWaiting();
  if (!current) return show("no-images");
  find("next").hidden = true;
  find("skip").hidden = find("hint").hidden = false;
  find("result").replaceChildren();
  const buttons = current.answers.map((answer, index) => answerButton(answer, index + 1));
  find("answers").replaceChildren(...buttons);
  find("origin").textContent = ""; // time and region could hint at the label
  find("image").src = `reviews/${current.id}/image`;
  show("card");
  find(find("actor").value ? "card" : "actor").focus();
}

async function submit(answer) {
  const actor = find("actor").value.trim();
  if (!actor) {
    find("error").textContent = "Enter your name first.";
    return find("actor").focus();
  }
  localStorage.setItem(ACTOR_KEY, actor);
  find("error").textContent = "";
  setEnabled(false);
  try {
    showResult(await requestJson(`reviews/${current.id}`, { answer, actor }));
  } catch (error) {
    if (error.status !== 409) {
      setEnabled(error.status !== 404);
      find("next").hidden = error.status !== 404; // the image has expired
      throw error;
    }
    showResult(await requestJson(`reviews/${current.id}`)); // another reviewer was faster
  }
}

function verdict(label, truth) {
  if (truth === "cannot_tell") return createElement("span", "");
  const isRight = label === truth;
  return createElement("span", isRight ? ", right" : ", wrong", isRight ? "right" : "wrong");
}

function showResult({ at_ms, region, review, stable, candidate, kind }) {
  const when = new Date(at_ms).toLocaleString();
  find("origin").textContent = region ? `${when}, from ${region}` : when;
  for (const button of answerButtons()) {
    button.setAttribute("aria-pressed", String(button.dataset.answer === review.answer));
  }
  const facts = createElement("dl", "");
  const shows = createElement("dd", ANSWER_TEXTS[review.answer] ?? review.answer);
  facts.append(createElement("dt", `${review.actor} answered`), shows);
  for (const { version, label } of [stable, candidate]) {
    const prediction = createElement("dd", label);
    prediction.append(verdict(label, review.answer));
    facts.append(createElement("dt", `${version} predicted`), prediction);
  }
  const heading = kind === "agreement" ? "The versions agree" : "The versions disagree";
  find("result").replaceChildren(createElement("h2", heading), facts);
  find("skip").hidden = find("hint").hidden = true;
  find("next").hidden = false;
  find("next").focus();
  current = null;
  reviewed += 1;
  waiting = Math.max(0, waiting - 1);
  showWaiting();
}

async function explainMissingImage() {
  try {
    await request(find("image").src);
    find("error").textContent = "The browser cannot show the image.";
  } finally {
    find("next").hidden = false;
  }
}

async function showErrors(action) {
  try {
    await action();
  } catch (error) {
    if (error.status === 401) {
      find("error").textContent = "";
      show("sign-in");
      return showSignIn();
    }
    find("error").textContent =
      error instanceof HttpError ? error.message : `The service does not respond (${error.message}).`;
  }
}

find("image").addEventListener("load", () => setEnabled(Boolean(current)));
find("image").addEventListener("error", () => showErrors(explainMissingImage));
find("next").addEventListener("click", () => showErrors(showNext));
find("skip").addEventListener("click", () => {
  if (current) skipped.add(current.id);
  showErrors(showNext);
});
document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.repeat) return;
  if (event.target instanceof HTMLInputElement || find("card").hidden) return;
  answerButtons()[Number(event.key) - 1]?.click();
});

find("actor").addEventListener("keydown", (event) => {
  if (event.key === "Enter") find("card").focus();
});

find("actor").value = localStorage.getItem(ACTOR_KEY) ?? "";
showErrors(showNext);
