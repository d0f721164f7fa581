// Blind review: an image, an answer, and only then what the versions had said of it.

const IMAGES_AT_ONCE = 20;
const WORDS = { other: "Something else", cannot_tell: "Cannot tell" };
const REVIEWER = "serve-app reviewer";
const find = (id) => document.getElementById(id);

let queue = [];
let waiting = 0;
let shown = null; // the image that waits for its answer

class Rejected extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function fetched(path, options) {
  const answer = await fetch(path, options);
  if (!answer.ok) throw new Rejected(answer.status, (await answer.json()).detail);
  return answer;
}

async function ask(path, body) {
  const options = body && {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  return (await fetched(path, options)).json();
}

function element(tag, text, name = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = name;
  return made;
}

function show(part) {
  for (const id of ["signed-out", "nothing", "card"]) find(id).hidden = id !== part;
  find("about").hidden = part === "signed-out";
}

function showWaiting() {
  find("waiting").textContent = waiting === 1 ? "1 image waits" : `${waiting} images wait`;
}

function button(answer, number) {
  const made = element("button", WORDS[answer] ?? answer);
  made.type = "button";
  made.disabled = true; // until the image is there
  made.dataset.answer = answer;
  made.setAttribute("aria-pressed", "false");
  if (number < 10) {
    made.setAttribute("aria-keyshortcuts", number);
    const key = element("kbd", number);
    key.setAttribute("aria-hidden", "true");
    made.append(key);
  }
  made.addEventListener("click", () => guarded(() => review(answer)));
  return made;
}

const buttons = () => [...find("answers").children];

function enable(enabled) {
  for (const each of buttons()) each.disabled = !enabled;
}

async function next() {
  find("trouble").textContent = "";
  if (!queue.length) {
    const found = await ask(`disagreements?limit=${IMAGES_AT_ONCE}`);
    queue = found.disagreements;
    waiting = found.waiting;
  }
  shown = queue.shift() ?? null;
  showWaiting();
  if (!shown) return show("nothing");
  find("next").hidden = true;
  find("hint").hidden = false;
  find("told").replaceChildren();
  find("answers").replaceChildren(...shown.answers.map((answer, place) => button(answer, place + 1)));
  find("origin").textContent = ""; // where it comes from is a hint as well
  find("image").src = `disagreements/${shown.id}/image`;
  show("card");
  find(find("actor").value ? "card" : "actor").focus();
}

async function review(answer) {
  const actor = find("actor").value.trim();
  if (!actor) {
    find("trouble").textContent = "Say who you are first.";
    return find("actor").focus();
  }
  localStorage.setItem(REVIEWER, actor);
  find("trouble").textContent = "";
  enable(false);
  try {
    tell(await ask(`disagreements/${shown.id}/review`, { answer, actor }));
  } catch (error) {
    if (error.status !== 409) {
      enable(error.status !== 404);
      find("next").hidden = error.status !== 404; // it has expired
      throw error;
    }
    tell(await ask(`disagreements/${shown.id}`)); // somebody was faster
  }
}

function verdict(said, truth) {
  if (truth === "cannot_tell") return element("span", "");
  return said === truth ? element("span", ", right", "right") : element("span", ", wrong", "wrong");
}

function tell({ at_ms, region, review, stable, candidate, kind }) {
  const when = new Date(at_ms).toLocaleString();
  find("origin").textContent = region ? `${when}, from ${region}` : when;
  for (const each of buttons()) {
    each.setAttribute("aria-pressed", String(each.dataset.answer === review.answer));
  }
  const facts = element("dl", "");
  const answered = element("dd", WORDS[review.answer] ?? review.answer);
  facts.append(element("dt", `${review.actor} said`), answered);
  for (const { version, label } of [stable, candidate]) {
    const said = element("dd", label);
    said.append(verdict(label, review.answer));
    facts.append(element("dt", `${version} said`), said);
  }
  const heading = element("h2", kind === "agreement" ? "They agreed" : "They disagreed");
  find("told").replaceChildren(heading, facts);
  find("hint").hidden = true;
  find("next").hidden = false;
  find("next").focus();
  shown = null;
  waiting = Math.max(0, waiting - 1);
  showWaiting();
}

async function tellWhatIsMissing() {
  try {
    await fetched(find("image").src);
    find("trouble").textContent = "The image cannot be shown.";
  } finally {
    find("next").hidden = false;
  }
}

async function guarded(act) {
  try {
    await act();
  } catch (error) {
    if (error.status === 401) return show("signed-out");
    find("trouble").textContent =
      error instanceof Rejected ? error.message : `The service does not answer (${error.message}).`;
  }
}

find("image").addEventListener("load", () => enable(Boolean(shown)));
find("image").addEventListener("error", () => guarded(tellWhatIsMissing));
find("next").addEventListener("click", () => guarded(next));
find("card").addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.repeat) return;
  buttons()[Number(event.key) - 1]?.click();
});

find("actor").addEventListener("keydown", (event) => {
  if (event.key === "Enter") find("card").focus();
});

find("actor").value = localStorage.getItem(REVIEWER) ?? "";
guarded(next);
